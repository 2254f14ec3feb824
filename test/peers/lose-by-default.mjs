// Holds a lock with nothing configured but the TTL: `node lose-by-default.mjs LIBRARY PORT PORT PORT`. Prints "held", then
// "signal" when the library tells of the loss. Whether it gets that far is what the test looks at. "redis-semaphore told" is
// redis-semaphore with the one option that changes the outcome.
import { Redlock as SesameRedlock } from "@sesamecare-oss/redlock";
import { Redis } from "ioredis";
import { createLocker } from "quorum-lock";
import { redis } from "quorum-lock/redis";
import { RedlockMutex } from "redis-semaphore";
import Redlock from "redlock";
import { createRedlock, IoredisAdapter } from "redlock-universal";

const TTL_MS = 1_500;
const GIVE_UP_MS = 10_000;

const [library, ...ports] = process.argv.slice(2);
const clients = ports.map((port) => new Redis({ host: "127.0.0.1", port: Number(port) }));
const giveUp = setTimeout(() => process.exit(3), GIVE_UP_MS);

const untilAborted = (signal) => {
  console.log("held");
  return new Promise(() => {
    signal.addEventListener("abort", () => {
      console.log("signal");
      process.exit();
    });
  });
};

// The job looks at `isAcquired`, as the README of redis-semaphore shows.
const holdMutex = async (options) => {
  const mutex = new RedlockMutex(clients, "job", { lockTimeout: TTL_MS, ...options });
  await mutex.acquire();
  console.log("held");
  try {
    while (mutex.isAcquired) await new Promise((resolve) => setTimeout(resolve, 20));
  } finally {
    await mutex.release();
  }
};

const hold = {
  "quorum-lock": async () => {
    const locker = createLocker({ backends: clients.map((client) => redis(client)), ttlMs: TTL_MS });
    await locker.withLock("job", (lease) => untilAborted(lease.signal));
  },
  redlock: () => new Redlock(clients).using(["job"], TTL_MS, untilAborted),
  "@sesamecare-oss/redlock": () => new SesameRedlock(clients).using(["job"], TTL_MS, untilAborted),
  "redlock-universal": () =>
    createRedlock({
      adapters: clients.map((client) => new IoredisAdapter(client)),
      key: "job",
      ttl: TTL_MS,
    }).using(untilAborted),
  "redis-semaphore": () => holdMutex({}),
  "redis-semaphore told": () => holdMutex({ onLockLost: () => console.log("signal") }),
};

await hold[library]();
clearTimeout(giveUp);
for (const client of clients) client.disconnect();
