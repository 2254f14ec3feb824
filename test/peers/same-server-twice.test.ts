import { SameBackendError } from "../../src/index.js";
import type { RunningRedis } from "../servers/redis-server.ts";
import { granted, row, settled, unexpected, type Bench } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal } from "./libraries.ts";

/**
 * Three URLs, two servers. The second URL of the first server finds the key that the first one has just set, and votes
 * against it, so an acquire counts the server once. Then the second server dies, and the first one's two URLs are a
 * "majority" of three that confirms the lock.
 */
const NOT_NOTICED = "not noticed; an extend counts both";

async function twoServers(bench: Bench): Promise<{ servers: RunningRedis[]; targets: RunningRedis[] }> {
  const servers = await bench.servers(2);
  const [first, second] = servers;
  if (first === undefined || second === undefined) throw new Error("two servers");
  return { servers, targets: [first, first, second] };
}

await row("two URLs of one server", {
  "quorum-lock": async (bench) => {
    const { targets } = await twoServers(bench);
    const named = await bench.clients(targets.slice(0, 2));
    // The same URL twice is seen at once; two names of one server, when it answers.
    try {
      quorumLock(bench, named);
      return unexpected("createLocker", "accepted");
    } catch (error) {
      if (!(error instanceof SameBackendError)) throw error;
    }
    const [proxy] = await bench.proxies(targets);
    const [first, , second] = targets;
    if (proxy === undefined || first === undefined || second === undefined) throw new Error("two servers");
    const locker = quorumLock(bench, await bench.clients([first, proxy, second]));
    const seen = await settled(locker.acquire("job", { waitMs: 2_000 }), 3_000);
    return seen.kind === "error" && seen.error instanceof SameBackendError
      ? "refused"
      : unexpected("acquire", seen);
  },
  ...redlocks(async (make, bench) => {
    const { servers, targets } = await twoServers(bench);
    const redlock = make(await bench.clients(targets));
    const warmUp = await granted(redlock.acquire(["warm-up"], 10_000));
    await granted(warmUp.extend(10_000));
    const lock = await granted(redlock.acquire(["job"], 10_000));
    await servers[1]?.kill();
    const seen = await settled(lock.extend(10_000), 3_000);
    return seen.kind === "value" ? NOT_NOTICED : unexpected("extend", seen);
  }),
  "redlock-universal": async (bench) => {
    const { servers, targets } = await twoServers(bench);
    const lock = universal(await bench.clients(targets), { key: "job", ttl: 10_000, timeout: 300 });
    const handle = await granted(lock.acquire());
    await servers[1]?.kill();
    const seen = await settled(lock.extend(handle, 10_000), 3_000);
    return seen.kind === "value" && seen.value ? NOT_NOTICED : unexpected("extend", seen);
  },
  "redis-semaphore": async (bench) => {
    const { servers, targets } = await twoServers(bench);
    let lost = false;
    const options = { lockTimeout: 1_500, refreshInterval: 500, onLockLost: () => void (lost = true) };
    const stock = semaphore(await bench.clients(targets), "stock", options);
    const bounded = semaphore(await bench.clients(targets, { commandTimeout: 200 }), "bounded", options);
    for (const mutex of [stock, bounded]) {
      bench.after(() => mutex.stopRefresh());
      await granted(mutex.acquire());
    }
    await servers[1]?.kill();
    // Longer than the locks last unless they are refreshed.
    await new Promise((resolve) => setTimeout(resolve, 2_300));
    const left = [await servers[0]?.cli("GET", "mutex:stock"), await servers[0]?.cli("GET", "mutex:bounded")];
    // Without a timeout the refresh waits for the dead server, and the lock ends meanwhile.
    return !lost && left[0] === null && left[1] === bounded.identifier
      ? "not noticed; with T, an extend counts both"
      : unexpected("refresh", { lost, left });
  },
});
