import { NoQuorumError } from "../../src/index.js";
import type { RunningRedis } from "../servers/redis-server.ts";
import { row, settled, unexpected, type Bench } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal, warm } from "./libraries.ts";

const TTL_MS = 10_000;
/** What the libraries are told to wait at most, in their own words. */
const LIMIT_MS = 300;
/** Ten times that. */
const PENDING_MS = 3_000;

async function threeServers(bench: Bench): Promise<[RunningRedis[], () => Promise<unknown>]> {
  const servers = await bench.servers(3);
  return [servers, () => Promise.all(servers.slice(1).map((server) => server.freeze()))];
}

await row("two hung of three", {
  "quorum-lock": async (bench) => {
    const [servers, hang] = await threeServers(bench);
    const locker = quorumLock(bench, await bench.clients(servers));
    await warm.quorumLock(locker);
    await hang();
    const seen = await settled(locker.acquire("job", { ttlMs: TTL_MS, waitMs: LIMIT_MS }), PENDING_MS);
    if (seen.kind !== "error" || !(seen.error instanceof NoQuorumError)) return unexpected("acquire", seen);
    const { votes, message } = seen.error;
    const named = servers.every(({ port }) => message.includes(`127.0.0.1:${port}`));
    return named && votes.length === 3 && seen.ms < LIMIT_MS + 200
      ? "error within `waitMs`, names all three"
      : unexpected("error", seen);
  },
  ...redlocks(async (make, bench) => {
    const [servers, hang] = await threeServers(bench);
    const stock = make(await bench.clients(servers));
    const bounded = make(await bench.clients(servers, { commandTimeout: LIMIT_MS }));
    await warm.redlock(stock);
    await warm.redlock(bounded);
    await hang();
    const [seen, withTimeout] = await Promise.all([
      settled(stock.acquire(["stock"], TTL_MS), PENDING_MS),
      settled(bounded.acquire(["bounded"], TTL_MS), PENDING_MS),
    ]);
    // The second time is that of the release after the failed attempt.
    return seen.kind === "pending" && withTimeout.kind === "error" && withTimeout.ms < 2 * LIMIT_MS + 300
      ? "does not settle; with T, error"
      : unexpected("acquire", { seen, withTimeout });
  }),
  "redlock-universal": async (bench) => {
    const [servers, hang] = await threeServers(bench);
    const lock = universal(await bench.clients(servers), { key: "job", ttl: TTL_MS, timeout: LIMIT_MS });
    await warm.universal(lock);
    await hang();
    const seen = await settled(lock.acquire(), PENDING_MS);
    return seen.kind === "error" && seen.ms > LIMIT_MS - 5 && seen.ms < LIMIT_MS + 300
      ? "error after its `timeout`"
      : unexpected("acquire", seen);
  },
  "redis-semaphore": async (bench) => {
    const [servers, hang] = await threeServers(bench);
    const options = { acquireTimeout: LIMIT_MS };
    const stock = semaphore(await bench.clients(servers), "stock", options);
    const bounded = semaphore(await bench.clients(servers, { commandTimeout: LIMIT_MS }), "bounded", options);
    await warm.semaphore(stock);
    await warm.semaphore(bounded);
    await hang();
    const [seen, withTimeout] = await Promise.all([
      settled(stock.acquire(), PENDING_MS),
      settled(bounded.acquire(), PENDING_MS),
    ]);
    return seen.kind === "pending" && withTimeout.kind === "error" && withTimeout.ms < 2 * LIMIT_MS + 300
      ? "does not settle; with T, error"
      : unexpected("acquire", { seen, withTimeout });
  },
});
