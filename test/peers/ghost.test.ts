import type { RunningRedis } from "../servers/redis-server.ts";
import { row, settled, unexpected, type Bench } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal, warm } from "./libraries.ts";

/**
 * An acquire fails since two of three servers hang; then they go on, and execute what they had received. It is a ghost
 * where nothing follows that takes it back: the key then blocks everybody until its TTL.
 *
 * Looked at twice: with servers that know the scripts of the library, and with servers whose script cache is empty, as
 * it is after a restart.
 */
const TTL_MS = 6_000;
const TIMEOUT_MS = 300;
/** For everything that is on its way, and for a release that is sent again. */
const AFTERMATH_MS = 2_500;

interface Part {
  readonly warm: () => Promise<void>;
  /** Must fail. */
  readonly acquire: () => Promise<unknown>;
  readonly key: string;
}

type Fate = "never executed" | "released" | "stays";

async function fate(
  servers: readonly RunningRedis[],
  part: Part,
  scripts: "known" | "flushed",
): Promise<Fate> {
  await part.warm();
  if (scripts === "flushed") for (const server of servers) await server.cli("SCRIPT", "FLUSH");
  const hung = servers.slice(1);
  const before = await Promise.all(hung.map(writes));
  await Promise.all(hung.map((server) => server.freeze()));
  const seen = await settled(part.acquire(), 5_000);
  if (seen.kind === "pending") return unexpected("acquire", seen);
  await Promise.all(hung.map((server) => server.thaw()));
  await new Promise((resolve) => setTimeout(resolve, AFTERMATH_MS));
  const after = await Promise.all(hung.map(writes));
  if (after.every((count, i) => count === before[i])) return "never executed";
  const restMs = await Promise.all(hung.map((server) => server.cli("PTTL", part.key)));
  if (restMs.every((rest) => Number(rest) > TTL_MS / 4)) return "stays";
  return restMs.every((rest) => Number(rest) < 0) ? "released" : unexpected("PTTL", restMs);
}

/** How often a server has set a key, by itself or from a script. */
async function writes(server: RunningRedis): Promise<number> {
  const stats = String(await server.cli("INFO", "commandstats"));
  return [...stats.matchAll(/cmdstat_(?:set|hset|hmset):calls=(\d+)/g)].reduce(
    (sum, [, n]) => sum + Number(n),
    0,
  );
}

async function fates(
  bench: Bench,
  part: (servers: readonly RunningRedis[]) => Promise<Part>,
): Promise<string> {
  const of = async (scripts: "known" | "flushed"): Promise<Fate> => {
    const servers = await bench.servers(3);
    return fate(servers, await part(servers), scripts);
  };
  const [known, flushed] = await Promise.all([of("known"), of("flushed")]);
  if (known === "stays" && flushed === "stays") return "stays for its TTL";
  if (known === "released" && flushed === "stays") return "released; stays where the scripts are new";
  return known === "released" ? "released" : unexpected("fates", { known, flushed });
}

await row("acquire that timed out and is executed later", {
  "quorum-lock": (bench) =>
    fates(bench, async (servers) => {
      const locker = quorumLock(bench, await bench.clients(servers), { ttlMs: TTL_MS });
      return { warm: () => warm.quorumLock(locker), acquire: () => locker.acquire("job"), key: "{ql:job}:l" };
    }),
  // Without a timeout it does not settle, and when the servers go on nothing is too late.
  ...redlocks(async (make, bench) => {
    const seen = await fates(bench, async (servers) => {
      const redlock = make(await bench.clients(servers, { commandTimeout: TIMEOUT_MS }));
      return {
        warm: () => warm.redlock(redlock),
        acquire: () => redlock.acquire(["job"], TTL_MS),
        key: "job",
      };
    });
    return `with T, ${seen}`;
  }),
  "redlock-universal": (bench) =>
    fates(bench, async (servers) => {
      const lock = universal(await bench.clients(servers), { key: "job", ttl: TTL_MS, timeout: TIMEOUT_MS });
      return { warm: () => warm.universal(lock), acquire: () => lock.acquire(), key: "job" };
    }),
  // As with redlock.
  "redis-semaphore": async (bench) => {
    const seen = await fates(bench, async (servers) => {
      const clients = await bench.clients(servers, { commandTimeout: TIMEOUT_MS });
      const mutex = semaphore(clients, "job", { lockTimeout: TTL_MS });
      return { warm: () => warm.semaphore(mutex), acquire: () => mutex.acquire(), key: "mutex:job" };
    });
    return `with T, ${seen}`;
  },
});
