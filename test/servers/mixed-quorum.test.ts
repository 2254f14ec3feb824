/** One locker over stores of different kinds: the waiter that all of them call has the lock at once. */
import { Etcd3 } from "etcd3";
import pg from "pg";
import { expect } from "vitest";
import { etcd } from "../../src/adapters/etcd.js";
import { postgres } from "../../src/adapters/postgres.js";
import { redis } from "../../src/adapters/redis.js";
import type { Backend } from "../../src/backend.js";
import type { Locker } from "../../src/lock/locker.js";
import { figure, median, test as redisTest } from "../redis/kit.ts";
import { backendOn as zookeeperOn } from "../zookeeper/kit.ts";
import { observed } from "./hand-over.ts";
import { describeWithServer } from "./needs.ts";
import { startPostgres } from "./sql-server.mjs";
import { startEtcd } from "./start-etcd.ts";
import { startZookeeper } from "./start-zookeeper.ts";
import { waitUntil } from "./wait-until.ts";

const ROUNDS = 7;
const QUORUM = 3;
/** Nobody has the lock by asking again before that is over. */
const ASK_EVERY_MS = 2_000;
const WAIT_MS = 30_000;
/** Sooner than the backstop, by which a locker that is called asks about once a second. */
const SOON_MS = 600;

const test = redisTest.extend<{
  readonly lockerWith: () => Promise<{ locker: Locker; seen: ReturnType<typeof observed>[] }>;
}>({
  lockerWith: async ({ servers, client, locker, after }, use) => {
    const [one, other] = await servers(2);
    const [sql, raft, zoo] = await Promise.all([startPostgres(), startEtcd("etcd-3.5"), startZookeeper()]);
    after(() => Promise.all([sql.stop(), raft.stop(), zoo.stop()]));
    await use(async () => {
      const pool = new pg.Pool({ connectionString: sql.url });
      const etcd3 = new Etcd3({ hosts: `http://127.0.0.1:${raft.port}` });
      after(() => pool.end());
      after(() => etcd3.close());
      const backends: Backend[] = [
        redis(client(one ?? { port: 0 })),
        redis(client(other ?? { port: 0 })),
        postgres(pool),
        etcd(etcd3),
        zookeeperOn(zoo),
      ];
      const seen = backends.map(observed);
      const made = locker({
        backends: seen.map(({ backend }) => backend),
        ttlMs: 20_000,
        retryDelayMsMin: ASK_EVERY_MS,
        retryDelayMsMax: 2 * ASK_EVERY_MS,
      });
      return { locker: made, seen };
    });
  },
});

await describeWithServer("postgres", "two Redis, PostgreSQL, etcd and ZooKeeper as five votes", () => {
  test("a released lock is with the next in line at once", { timeout: 90_000 }, async ({ lockerWith }) => {
    const [holder, waiter] = [await lockerWith(), await lockerWith()];
    const took: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const lease = await holder.locker.acquire("k", { waitMs: WAIT_MS });
      const before = waiter.seen.map(({ stood }) => stood());
      const waiting = waiter.locker.acquire("k", { waitMs: WAIT_MS });
      // Where a release of the round before came late, the holder has no lock, and nobody stands in line.
      await waitUntil({ what: "it stands in line on a quorum", timeoutMs: WAIT_MS }, async () => {
        return waiter.seen.filter(({ stood }, i) => stood() > (before[i] ?? 0)).length >= QUORUM;
      });
      const from = performance.now();
      await lease.release();
      const next = await waiting;
      took.push(performance.now() - from);
      await next.release();
    }
    expect(waiter.seen.map(({ called }) => called() > 0)).toEqual([true, true, true, true, true]);
    figure("five stores: from the release to the next in line", `median ${median(took).toFixed(1)} ms`);
    expect(median(took)).toBeLessThan(150);
    expect(Math.max(...took.slice(1))).toBeLessThan(SOON_MS);
  });
});
