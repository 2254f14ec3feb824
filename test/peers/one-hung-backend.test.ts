import { DEFAULTS } from "redlock-universal";
import type { RunningRedis } from "../servers/redis-server.ts";
import { row, settled, unexpected, type Bench } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal, warm } from "./libraries.ts";

const TTL_MS = 10_000;
const COMMAND_TIMEOUT_MS = 500;
const CHOSEN_TIMEOUT_MS = 700;
/** Beyond this something was waited for. An undisturbed acquire takes a few milliseconds. */
const AT_ONCE_MS = 350;

async function threeServers(bench: Bench): Promise<[RunningRedis[], () => Promise<void>]> {
  const servers = await bench.servers(3);
  return [servers, () => servers[2]?.freeze() ?? Promise.resolve()];
}

/** Whether it took as long as that, give or take what an acquire takes anyway. */
function took(ms: number, expectedMs: number): boolean {
  return ms > expectedMs - 5 && ms < expectedMs + AT_ONCE_MS;
}

await row("one hung backend of three", {
  "quorum-lock": async (bench) => {
    const [servers, hang] = await threeServers(bench);
    const locker = quorumLock(bench, await bench.clients(servers));
    await warm.quorumLock(locker);
    await hang();
    const seen = await settled(locker.acquire("job", { ttlMs: TTL_MS }), 3_000);
    return seen.kind === "value" && seen.ms < AT_ONCE_MS ? "no delay" : unexpected("acquire", seen);
  },
  ...redlocks(async (make, bench) => {
    const [servers, hang] = await threeServers(bench);
    const redlock = make(await bench.clients(servers));
    await warm.redlock(redlock);
    await hang();
    const seen = await settled(redlock.acquire(["job"], TTL_MS), 3_000);
    return seen.kind === "value" && seen.ms < AT_ONCE_MS ? "no delay" : unexpected("acquire", seen);
  }),
  "redlock-universal": async (bench) => {
    const [servers, hang] = await threeServers(bench);
    const clients = await bench.clients(servers);
    const byDefault = universal(clients, { key: "by-default", ttl: TTL_MS });
    const chosen = universal(clients, { key: "chosen", ttl: TTL_MS, timeout: CHOSEN_TIMEOUT_MS });
    await warm.universal(byDefault);
    await warm.universal(chosen);
    await hang();
    const [slow, quick] = await Promise.all([
      settled(byDefault.acquire(), DEFAULTS.REDIS_TIMEOUT + 1_000),
      settled(chosen.acquire(), 3_000),
    ]);
    const waited = took(slow.ms, 5_000) && took(quick.ms, CHOSEN_TIMEOUT_MS);
    return slow.kind === "value" && quick.kind === "value" && waited
      ? "waits for its `timeout` (5 s)"
      : unexpected("acquire", { slow, quick });
  },
  "redis-semaphore": async (bench) => {
    const [servers, hang] = await threeServers(bench);
    const stock = semaphore(await bench.clients(servers), "stock", { acquireTimeout: 300 });
    const bounded = semaphore(
      await bench.clients(servers, { commandTimeout: COMMAND_TIMEOUT_MS }),
      "bounded",
    );
    await warm.semaphore(stock);
    await warm.semaphore(bounded);
    await hang();
    const acquiring = stock.acquire();
    const [seen, withTimeout] = await Promise.all([
      settled(acquiring, 3_000),
      settled(bounded.acquire(), 3_000),
    ]);
    await servers[2]?.thaw();
    const answered = await settled(acquiring, 1_000);
    const waited = seen.kind === "pending" && answered.kind === "value";
    return waited && withTimeout.kind === "value" && took(withTimeout.ms, COMMAND_TIMEOUT_MS)
      ? "waits until it answers, or for T"
      : unexpected("acquire", { seen, answered, withTimeout });
  },
});
