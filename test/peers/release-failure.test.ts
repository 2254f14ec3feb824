import type { RunningRedis } from "../servers/redis-server.ts";
import { row, settled, unexpected, type Bench, type Settled } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal, warm } from "./libraries.ts";

/** While the routine runs, two of three servers lose the lock's key, so that the release after it fails. */
const TTL_MS = 10_000;
const KEPT = "kept";

interface Outcomes {
  readonly returned: Settled<string>;
  readonly threw: Settled<string>;
}

/** Runs one routine that returns and one that throws. */
async function outcomes(
  servers: readonly RunningRedis[],
  using: (routine: () => Promise<string>) => Promise<string>,
): Promise<Outcomes> {
  const forget = async (): Promise<void> => {
    for (const server of servers.slice(1)) await server.cli("FLUSHALL");
  };
  const returned = await settled(
    using(async () => {
      await forget();
      return "the result";
    }),
    5_000,
  );
  const threw = await settled(
    using(async () => {
      await forget();
      throw new Error("the job failed");
    }),
    5_000,
  );
  return { returned, threw };
}

function kept({ returned, threw }: Outcomes): boolean {
  return (
    returned.kind === "value" &&
    returned.value === "the result" &&
    threw.kind === "error" &&
    threw.error.message === "the job failed"
  );
}

async function threeServers(bench: Bench): Promise<[RunningRedis[], Awaited<ReturnType<Bench["clients"]>>]> {
  const servers = await bench.servers(3);
  return [servers, await bench.clients(servers)];
}

await row("job's result or error when the release fails", {
  "quorum-lock": async (bench) => {
    const [servers, clients] = await threeServers(bench);
    // FLUSHALL takes the marks, too: what was forgotten is quarantined, for a second or so with these figures.
    const locker = quorumLock(bench, clients, {
      ttlMs: 1_000,
      maxTtlMs: 1_000,
      clockSkewMs: 100,
      waitMs: 5_000,
    });
    await warm.quorumLock(locker);
    const seen = await outcomes(servers, (routine) => locker.withLock("job", routine));
    return kept(seen) ? KEPT : unexpected("withLock", seen);
  },
  ...redlocks(async (make, bench) => {
    const [servers, clients] = await threeServers(bench);
    const redlock = make(clients);
    await warm.redlock(redlock);
    const seen = await outcomes(servers, (routine) => redlock.using(["job"], TTL_MS, routine));
    const { returned, threw } = seen;
    return returned.kind === "error" &&
      returned.error.name === "ExecutionError" &&
      threw.kind === "error" &&
      threw.error.name === "ExecutionError"
      ? "replaced by the release's"
      : unexpected("using", seen);
  }),
  "redlock-universal": async (bench) => {
    const [servers, clients] = await threeServers(bench);
    const lock = universal(clients, { key: "job", ttl: TTL_MS });
    await warm.universal(lock);
    const seen = await outcomes(servers, (routine) => lock.using(routine));
    return kept(seen) ? KEPT : unexpected("using", seen);
  },
  // It has no `using`; this is the try and finally of its README.
  "redis-semaphore": async (bench) => {
    const [servers, clients] = await threeServers(bench);
    const mutex = semaphore(clients, "job", { lockTimeout: TTL_MS });
    await warm.semaphore(mutex);
    const seen = await outcomes(servers, async (routine) => {
      await mutex.acquire();
      try {
        return await routine();
      } finally {
        await mutex.release();
      }
    });
    return kept(seen) ? KEPT : unexpected("try and finally", seen);
  },
});
