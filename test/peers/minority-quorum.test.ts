import { InvalidOptionError } from "../../src/index.js";
import { granted, row, unexpected, type Bench } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal } from "./libraries.ts";

const TTL_MS = 10_000;

/** Three servers of which two already have the key of another client: one vote of three is to be had. */
async function oneVoteLeft(bench: Bench, key: string): ReturnType<Bench["clients"]> {
  const servers = await bench.servers(3);
  for (const server of servers.slice(1)) await server.cli("SET", key, "another client", "PX", 30_000);
  return bench.clients(servers);
}

await row("`quorum: 1` of 3", {
  "quorum-lock": async (bench) => {
    const clients = await bench.clients(await bench.servers(3));
    try {
      quorumLock(bench, clients, { quorum: 1 });
    } catch (error) {
      if (error instanceof InvalidOptionError && error.option === "quorum") return "refused";
    }
    return unexpected("createLocker", "accepted");
  },
  // There is no such option: it is ignored, and a lock needs the majority.
  ...redlocks(async (make, bench) => {
    const options = { retryCount: 0, quorum: 1 };
    const clients = await oneVoteLeft(bench, "job");
    const lock = await granted(make(clients, options).acquire(["another-job"], TTL_MS));
    const stats = await lock.attempts[0];
    const refused = await make(clients, options)
      .acquire(["job"], TTL_MS)
      .then(
        () => false,
        () => true,
      );
    return stats?.quorumSize === 2 && refused ? "—" : unexpected("stats", { stats, refused });
  }),
  // Both ask at the same time, each is nearer to another server, nothing fails, and both get the lock.
  "redlock-universal": async (bench) => {
    const servers = await bench.servers(3);
    const far = await bench.proxies(servers);
    for (const proxy of far) proxy.delayMs = 50;
    const [alice, , carol] = servers.map((server, i) => [server, far[i] ?? server] as const);
    const middle = servers[1];
    if (alice === undefined || middle === undefined || carol === undefined) throw new Error("three servers");
    const options = { key: "job", ttl: TTL_MS, quorum: 1 };
    const first = universal(await bench.clients([alice[0], middle, carol[1]]), options);
    const second = universal(await bench.clients([alice[1], middle, carol[0]]), options);
    const handles = await Promise.all([granted(first.acquire()), granted(second.acquire())]);
    const values = await Promise.all(servers.map((server) => server.cli("GET", "job")));
    return values[0] === handles[0].value && values[2] === handles[1].value
      ? "accepted: two holders"
      : unexpected("values", { handles, values });
  },
  // There is no such option: it is ignored, and a lock needs the majority.
  "redis-semaphore": async (bench) => {
    const options = { quorum: 1, acquireAttemptsLimit: 1 };
    const mutex = semaphore(await oneVoteLeft(bench, "mutex:job"), "job", options);
    return (await mutex.tryAcquire()) ? unexpected("acquired", options) : "—";
  },
});
