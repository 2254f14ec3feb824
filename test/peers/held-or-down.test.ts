import type { RunningRedis } from "../servers/redis-server.ts";
import { granted, row, settled, unexpected } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal, type RedlockLike } from "./libraries.ts";

/** The same acquire, once while another client holds the lock, once while all servers are down. */
const TTL_MS = 10_000;
/** So that those down are told within the test: of the client, or of redlock-universal's adapter. */
const TIMEOUT_MS = 300;

async function errorOf(promise: Promise<unknown>): Promise<Error> {
  const seen = await settled(promise, 5_000);
  return seen.kind === "error" ? seen.error : unexpected("no error", seen);
}

async function killAll(servers: readonly RunningRedis[]): Promise<void> {
  await Promise.all(servers.map((server) => server.kill()));
}

/** Name, code and message, which is what a program has to tell errors apart by. */
function face(error: Error): string {
  const cause = error.cause instanceof Error ? error.cause.message : "";
  return [error.name, Reflect.get(error, "code"), error.message, cause].join(" | ");
}

await row("held, or all down", {
  "quorum-lock": async (bench) => {
    const servers = await bench.servers(3);
    const locker = quorumLock(bench, await bench.clients(servers));
    await granted(locker.acquire("job", { waitMs: 5_000 }));
    const held = await errorOf(locker.acquire("job"));
    await killAll(servers);
    const down = await errorOf(locker.acquire("job"));
    const codes = [held, down].map((error) => Reflect.get(error, "code") as unknown);
    return codes.join() === "LOCK_HELD,NO_QUORUM" ? "two errors" : unexpected("codes", codes);
  },
  ...redlocks(async (make, bench) => {
    const servers = await bench.servers(3);
    const redlock = make(await bench.clients(servers, { commandTimeout: TIMEOUT_MS }));
    const votes = async (error: Error): Promise<string> => {
      const attempts = Reflect.get(error, "attempts") as Awaited<
        ReturnType<RedlockLike["acquire"]>
      >["attempts"];
      const stats = await attempts[0];
      return [...(stats?.votesAgainst.values() ?? [])].map(({ name }) => name).join();
    };
    await granted(redlock.acquire(["job"], TTL_MS));
    const held = await errorOf(redlock.acquire(["job"], TTL_MS));
    await killAll(servers);
    const down = await errorOf(redlock.acquire(["job"], TTL_MS));
    const locked = "ResourceLockedError,ResourceLockedError,ResourceLockedError";
    return face(held) === face(down) &&
      (await votes(held)) === locked &&
      (await votes(down)) === "Error,Error,Error"
      ? "same error; its `attempts` tell"
      : unexpected("errors", {
          held: [face(held), await votes(held)],
          down: [face(down), await votes(down)],
        });
  }),
  "redlock-universal": async (bench) => {
    const servers = await bench.servers(3);
    const clients = await bench.clients(servers);
    const lock = universal(clients, { key: "job", ttl: TTL_MS, timeout: TIMEOUT_MS });
    await granted(lock.acquire());
    const held = await errorOf(lock.acquire());
    await killAll(servers);
    const down = await errorOf(lock.acquire());
    return face(held) === face(down) ? "same error" : unexpected("errors", [face(held), face(down)]);
  },
  "redis-semaphore": async (bench) => {
    const servers = await bench.servers(3);
    const clients = await bench.clients(servers, { commandTimeout: TIMEOUT_MS });
    const holder = semaphore(clients, "job", { lockTimeout: TTL_MS, refreshInterval: 0 });
    await granted(holder.acquire());
    const another = semaphore(clients, "job");
    const held = await errorOf(another.acquire());
    await killAll(servers);
    const down = await errorOf(another.acquire());
    return face(held) === face(down) ? "same error" : unexpected("errors", [face(held), face(down)]);
  },
});
