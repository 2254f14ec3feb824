import { redis } from "../../src/adapters/redis.js";
import { resolveOptions } from "../../src/options.js";
import type { RunningRedis } from "../servers/redis-server.ts";
import { waitUntil } from "../servers/wait-until.ts";
import { granted, row, settled, unexpected, type Bench } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal, warm } from "./libraries.ts";

/**
 * The first holder has the votes of servers 0 and 1; that of server 2 was somebody else's when it asked. Then server 1
 * restarts without its memory (these servers do not persist), and a second client asks servers 1 and 2.
 */
const TTL_MS = 20_000;
const SOMEBODY_MS = 500;
const TWO_HOLDERS = "votes at once: two holders";

async function oneOfThreeTaken(bench: Bench, key: string): Promise<RunningRedis[]> {
  const servers = await bench.servers(3);
  await servers[2]?.cli("SET", key, "somebody else", "PX", SOMEBODY_MS);
  return servers;
}

async function restartEmpty(servers: readonly RunningRedis[], key: string): Promise<void> {
  await waitUntil(
    { what: "somebody else gone", timeoutMs: 3_000 },
    async () => (await servers[2]?.cli("EXISTS", key)) === 0,
  );
  await servers[1]?.restart({ empty: true });
}

/** The first holder's key is where it was, with most of its TTL, and the second one's is on the two others. */
async function bothThere(
  servers: readonly RunningRedis[],
  key: string,
  values: readonly string[],
): Promise<boolean> {
  const found = await Promise.all(servers.map((server) => server.cli("GET", key)));
  const restMs = Number(await servers[0]?.cli("PTTL", key));
  return found.join() === [values[0], values[1], values[1]].join() && restMs > TTL_MS / 2;
}

await row("backend that restarted empty", {
  "quorum-lock": async (bench) => {
    const servers = await bench.servers(3);
    const clients = await bench.clients(servers);
    const first = quorumLock(bench, clients, { ttlMs: TTL_MS });
    await warm.quorumLock(first);
    const backends = clients.map((client) => redis(client));
    const session = backends[2]?.open(resolveOptions({ backends }).deployment);
    if (session === undefined) throw new Error("three servers");
    bench.after(() => session.close());
    const proposal = BigInt(Date.now()) * 1000n;
    await session.acquire({
      key: "job",
      owner: "000000000000000000000000005e1f00",
      ttlMs: SOMEBODY_MS,
      proposal,
    });
    const lease = await granted(first.acquire("job"));
    await restartEmpty(servers, "{ql:job}:l");
    const second = quorumLock(bench, await bench.clients(servers), { ttlMs: TTL_MS });
    const seen = await settled(second.tryAcquire("job"), 5_000);
    if (seen.kind !== "value" || seen.value.acquired) return unexpected("second", seen);
    const votes = seen.value.votes.map(({ vote }) => vote).join();
    return lease.remainingMs > TTL_MS / 2 && votes.startsWith("held,quarantined")
      ? "quarantined"
      : unexpected("votes", votes);
  },
  ...redlocks(async (make, bench) => {
    const servers = await oneOfThreeTaken(bench, "job");
    const first = await granted(make(await bench.clients(servers)).acquire(["job"], TTL_MS));
    await restartEmpty(servers, "job");
    const second = await granted(make(await bench.clients(servers)).acquire(["job"], TTL_MS));
    await waitUntil(
      { what: "third vote", timeoutMs: 1_000 },
      async () => (await servers[2]?.cli("EXISTS", "job")) === 1,
    );
    return first.expiration > Date.now() && (await bothThere(servers, "job", [first.value, second.value]))
      ? TWO_HOLDERS
      : unexpected("locks", [first.value, second.value]);
  }),
  "redlock-universal": async (bench) => {
    const servers = await oneOfThreeTaken(bench, "job");
    const options = { key: "job", ttl: TTL_MS };
    const first = await granted(universal(await bench.clients(servers), options).acquire());
    await restartEmpty(servers, "job");
    const second = await granted(universal(await bench.clients(servers), options).acquire());
    return (await bothThere(servers, "job", [first.value, second.value]))
      ? TWO_HOLDERS
      : unexpected("handles", [first, second]);
  },
  "redis-semaphore": async (bench) => {
    const servers = await oneOfThreeTaken(bench, "mutex:job");
    const first = semaphore(await bench.clients(servers), "job", { lockTimeout: TTL_MS });
    bench.after(() => first.stopRefresh());
    await granted(first.acquire());
    await restartEmpty(servers, "mutex:job");
    const second = semaphore(await bench.clients(servers), "job", { lockTimeout: TTL_MS });
    bench.after(() => second.stopRefresh());
    await granted(second.acquire());
    const values = [first.identifier, second.identifier];
    return first.isAcquired && (await bothThere(servers, "mutex:job", values))
      ? TWO_HOLDERS
      : unexpected("mutexes", values);
  },
});
