import { createHighWaterMarks, guardInProcess, StaleTokenError } from "../../src/index.js";
import type { RunningRedis } from "../servers/redis-server.ts";
import { granted, row, unexpected } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal } from "./libraries.ts";

/**
 * What the servers keep once the lock was released, in keys. A token that a quorum mints, and that is larger for every
 * later holder, needs something there that outlives the lock.
 */
async function kept(servers: readonly RunningRedis[]): Promise<number> {
  const sizes = await Promise.all(servers.map((server) => server.cli("DBSIZE")));
  return sizes.reduce<number>((sum, size) => sum + Number(size), 0);
}

await row("fencing token from the quorum", {
  "quorum-lock": async (bench) => {
    const locker = quorumLock(bench, await bench.clients(await bench.servers(3)));
    const marks = createHighWaterMarks();
    const first = await granted(locker.acquire("job", { waitMs: 5_000 }));
    await first.release();
    const second = await granted(locker.acquire("job"));
    guardInProcess(marks, second);
    let refused: unknown;
    try {
      guardInProcess(marks, first);
    } catch (error) {
      refused = error;
    }
    return second.token > first.token && refused instanceof StaleTokenError
      ? "yes, with a guard"
      : unexpected("tokens", { first: first.token, second: second.token });
  },
  ...redlocks(async (make, bench) => {
    const servers = await bench.servers(3);
    const lock = await granted(make(await bench.clients(servers)).acquire(["job"], 10_000));
    // `settings` only in the fork. The value is random, the expiration is the client's own clock.
    const fields = Object.keys(lock).filter((field) => field !== "settings");
    await lock.release();
    return fields.join() === "redlock,resources,value,attempts,expiration" && (await kept(servers)) === 0
      ? "no"
      : unexpected("lock", fields);
  }),
  "redlock-universal": async (bench) => {
    const servers = await bench.servers(3);
    const lock = universal(await bench.clients(servers), { key: "job", ttl: 10_000 });
    const handle = await granted(lock.acquire());
    // The id is the client's clock and random, the value is random, acquiredAt is the client's clock.
    const fields = [...Object.keys(handle), ...Object.keys(handle.metadata ?? {})];
    await lock.release(handle);
    return fields.join() === "id,key,value,acquiredAt,ttl,metadata,attempts,acquisitionTime,nodes,strategy" &&
      (await kept(servers)) === 0
      ? "no"
      : unexpected("handle", fields);
  },
  "redis-semaphore": async (bench) => {
    const servers = await bench.servers(3);
    const mutex = semaphore(await bench.clients(servers), "job");
    await granted(mutex.acquire());
    // Beside methods it shows these two; the identifier is random and the same for every acquire of the object.
    const shown = { identifier: typeof mutex.identifier, isAcquired: typeof mutex.isAcquired };
    const before = mutex.identifier;
    await mutex.release();
    await granted(mutex.acquire());
    const same = mutex.identifier === before;
    await mutex.release();
    return same &&
      shown.identifier === "string" &&
      shown.isAcquired === "boolean" &&
      (await kept(servers)) === 0
      ? "no"
      : unexpected("mutex", { shown, same });
  },
});
