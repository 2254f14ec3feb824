import { redis } from "../../src/adapters/redis.js";
import { LockHeldError } from "../../src/index.js";
import { resolveOptions } from "../../src/options.js";
import type { RunningRedis } from "../servers/redis-server.ts";
import { waitUntil } from "../servers/wait-until.ts";
import { granted, row, settled, unexpected } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal, warm } from "./libraries.ts";

/** Two of four servers have given their vote to another client; the other two give it to this one. */
const TTL_MS = 10_000;
const PENDING_MS = 3_000;
const AT_ONCE_MS = 500;
const LOST = "lost at once";

async function takenByAnother(servers: readonly RunningRedis[], key: string): Promise<void> {
  for (const server of servers.slice(0, 2)) await server.cli("SET", key, "another client", "PX", 30_000);
}

async function untilReleased(servers: readonly RunningRedis[], key: string): Promise<void> {
  await waitUntil({ what: `${key} released`, timeoutMs: 2_000 }, async () => {
    const left = await Promise.all(servers.slice(2).map((server) => server.cli("EXISTS", key)));
    return left.every((exists) => exists === 0);
  });
}

await row("even split (2 of 4)", {
  "quorum-lock": async (bench) => {
    const servers = await bench.servers(4);
    const clients = await bench.clients(servers);
    const locker = quorumLock(bench, clients);
    await warm.quorumLock(locker);
    const backends = clients.map((client) => redis(client));
    const { deployment } = resolveOptions({ backends });
    for (const backend of backends.slice(0, 2)) {
      const session = backend.open(deployment);
      bench.after(() => session.close());
      const proposal = BigInt(Date.now()) * 1000n;
      const another = { key: "job", owner: "00000000000000000000000000a07e50", ttlMs: 30_000, proposal };
      if ((await granted(session.acquire(another))).kind !== "granted") unexpected("another client", another);
    }
    const seen = await settled(locker.acquire("job", { ttlMs: TTL_MS }), PENDING_MS);
    await untilReleased(servers, "{ql:job}:l");
    return seen.kind === "error" && seen.error instanceof LockHeldError && seen.ms < AT_ONCE_MS
      ? LOST
      : unexpected("acquire", seen);
  },
  ...redlocks(async (make, bench) => {
    const servers = await bench.servers(4);
    const redlock = make(await bench.clients(servers));
    await warm.redlock(redlock);
    await takenByAnother(servers, "job");
    // Neither the votes for it nor those against reach the three that it waits for, though all four have answered.
    const seen = await settled(redlock.acquire(["job"], TTL_MS), PENDING_MS);
    const left = await Promise.all(servers.slice(2).map((server) => server.cli("EXISTS", "job")));
    return seen.kind === "pending" && left.join() === "1,1"
      ? "does not settle"
      : unexpected("acquire", { seen, left });
  }),
  "redlock-universal": async (bench) => {
    const servers = await bench.servers(4);
    const lock = universal(await bench.clients(servers), { key: "job", ttl: TTL_MS });
    await warm.universal(lock);
    await takenByAnother(servers, "job");
    const seen = await settled(lock.acquire(), PENDING_MS);
    await untilReleased(servers, "job");
    return seen.kind === "error" && seen.ms < AT_ONCE_MS ? LOST : unexpected("acquire", seen);
  },
  "redis-semaphore": async (bench) => {
    const servers = await bench.servers(4);
    const mutex = semaphore(await bench.clients(servers), "job", { lockTimeout: TTL_MS });
    await warm.semaphore(mutex);
    await takenByAnother(servers, "mutex:job");
    const seen = await settled(mutex.tryAcquire(), PENDING_MS);
    await untilReleased(servers, "mutex:job");
    return seen.kind === "value" && !seen.value && seen.ms < AT_ONCE_MS
      ? LOST
      : unexpected("tryAcquire", seen);
  },
});
