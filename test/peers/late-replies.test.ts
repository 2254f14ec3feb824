import type { TcpProxy } from "../servers/tcp-proxy.ts";
import type { RunningRedis } from "../servers/redis-server.ts";
import { row, settled, unexpected, type Bench } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal, warm } from "./libraries.ts";

/** The servers set the key after 400 ms and drop it at 700 ms, before their replies arrive at 800 ms. */
const TTL_MS = 300;
const ONE_WAY_MS = 400;

async function slowNetwork(
  bench: Bench,
): Promise<{ servers: RunningRedis[]; network: TcpProxy[]; slow: () => void }> {
  const servers = await bench.servers(3);
  const network = await bench.proxies(servers);
  return {
    servers,
    network,
    slow: () => {
      for (const proxy of network) proxy.delayMs = ONE_WAY_MS;
    },
  };
}

async function gone(servers: readonly RunningRedis[], key: string): Promise<boolean> {
  const found = await Promise.all(servers.map((server) => server.cli("EXISTS", key)));
  return found.every((exists) => exists === 0);
}

await row("replies after the TTL", {
  "quorum-lock": async (bench) => {
    const { network, slow } = await slowNetwork(bench);
    const locker = quorumLock(bench, await bench.clients(network), { ttlMs: TTL_MS });
    await warm.quorumLock(locker);
    slow();
    const seen = await settled(locker.tryAcquire("job"), 3_000);
    return seen.kind === "value" && !seen.value.acquired ? "refused" : unexpected("tryAcquire", seen);
  },
  ...redlocks(async (make, bench) => {
    const { servers, network, slow } = await slowNetwork(bench);
    const redlock = make(await bench.clients(network));
    await warm.redlock(redlock);
    slow();
    const seen = await settled(redlock.acquire(["job"], TTL_MS), 3_000);
    if (seen.kind !== "value") return unexpected("acquire", seen);
    const past = seen.value.expiration < Date.now();
    return past && (await gone(servers, "job"))
      ? "dead lock, `expiration` past"
      : unexpected("acquire", { past });
  }),
  "redlock-universal": async (bench) => {
    const { network, slow } = await slowNetwork(bench);
    const lock = universal(await bench.clients(network), { key: "job", ttl: TTL_MS });
    await warm.universal(lock);
    slow();
    const seen = await settled(lock.acquire(), 5_000);
    return seen.kind === "error" ? "refused" : unexpected("acquire", seen);
  },
  "redis-semaphore": async (bench) => {
    const { servers, network, slow } = await slowNetwork(bench);
    const mutex = semaphore(await bench.clients(network), "job", { lockTimeout: TTL_MS, refreshInterval: 0 });
    await warm.semaphore(mutex);
    slow();
    const seen = await settled(mutex.tryAcquire(), 3_000);
    return seen.kind === "value" && seen.value && mutex.isAcquired && (await gone(servers, "mutex:job"))
      ? "dead lock"
      : unexpected("tryAcquire", seen);
  },
});
