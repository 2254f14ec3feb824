/**
 * What is measured: this library, the bare fan-out below which none can be, and the published peers, each at the settings
 * that suit it best here: clients with a bound on every command, retries as short as ours, no refresh where a case needs none.
 */
import { createRequire } from "node:module";
import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { createLocker } from "../dist/index.js";
import { recommendedRedisOptions, redis } from "../dist/adapters/redis.js";

const require = createRequire(import.meta.url);
const TTL_MS = 10_000;
const DELETE_OWN = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/** The names, in the order of the tables. */
export const SUBJECTS = [
  "bare fan-out",
  "quorum-lock",
  "redlock",
  "@sesamecare-oss/redlock",
  "redlock-universal",
  "redis-semaphore",
];

/** @param {string} name the version that is installed; undefined for what is no package */
export function versionOf(name) {
  if (name === "bare fan-out") return undefined;
  if (name === "quorum-lock") return require("../package.json").version;
  // Not every package lets its package.json be required.
  const entry = require.resolve(name);
  const root = entry.slice(0, entry.lastIndexOf(`node_modules/${name}/`) + `node_modules/${name}/`.length);
  return require(`${root}package.json`).version;
}

/**
 * Makes one: `acquire(key)` resolves to a function that releases; `waitMs` 0 tries once.
 * @param {string} name @param {readonly number[]} ports @param {{ waitMs?: number, commandTimeoutMs?: number }} [options]
 */
export async function createSubject(name, ports, { waitMs = 0, commandTimeoutMs } = {}) {
  const ours = name === "quorum-lock";
  const settings = ours
    ? recommendedRedisOptions()
    : commandTimeoutMs === undefined
      ? {}
      : { commandTimeout: commandTimeoutMs, maxRetriesPerRequest: 0 };
  const clients = ports.map((port) => {
    const client = new Redis({ host: "127.0.0.1", port, ...settings });
    // A client without a listener prints every failed connection.
    client.on("error", () => undefined);
    return client;
  });
  if (!ours) await Promise.all(clients.map((client) => client.ping()));
  const made = await MAKERS[name](clients, waitMs);
  return {
    name,
    acquire: made.acquire,
    locker: made.locker,
    async close() {
      await made.close?.();
      for (const client of clients) client.disconnect();
    },
  };
}

const RETRY_DELAY_MS = 10;
/**
 * redlock and its fork, as their READMEs have it: of 25, 50, 100 and 200 ms, with as much jitter, one run each, it mostly gave them the most holds.
 * With shorter pauses they retry each command against the votes of one another, and hardly anybody ever wins.
 */
const REDLOCK_RETRY = { retryDelay: 200, retryJitter: 200 };

const MAKERS = {
  async "bare fan-out"(clients) {
    const shas = await Promise.all(clients.map((client) => client.script("LOAD", DELETE_OWN)));
    return {
      async acquire(key) {
        const owner = randomBytes(16).toString("hex");
        const votes = await Promise.all(clients.map((client) => client.set(key, owner, "PX", TTL_MS, "NX")));
        if (votes.filter((vote) => vote === "OK").length <= clients.length / 2)
          throw new Error("not acquired");
        return () => Promise.all(clients.map((client, i) => client.evalsha(shas[i], 1, key, owner)));
      },
    };
  },
  async "quorum-lock"(clients, waitMs) {
    const locker = createLocker({
      backends: clients.map((client) => redis(client, { prefix: `bench${clients.length}` })),
      ttlMs: TTL_MS,
      waitMs,
    });
    // A set that was just started is put into service by its first acquire.
    await (await locker.acquire("warm-up", { waitMs: 5_000 })).release();
    return {
      locker,
      async acquire(key) {
        const lease = await locker.acquire(key);
        return () => lease.release();
      },
      close: () => locker.close(),
    };
  },
  async redlock(clients, waitMs) {
    const { default: Redlock } = await import("redlock");
    return redlockLike(new Redlock(clients, retries(waitMs)));
  },
  async "@sesamecare-oss/redlock"(clients, waitMs) {
    const { Redlock } = await import("@sesamecare-oss/redlock");
    return redlockLike(new Redlock(clients, retries(waitMs)));
  },
  async "redlock-universal"(clients, waitMs) {
    const { createRedlock, IoredisAdapter } = await import("redlock-universal");
    const adapters = clients.map((client) => new IoredisAdapter(client));
    const retryAttempts = waitMs === 0 ? 0 : Math.ceil(waitMs / RETRY_DELAY_MS);
    return {
      async acquire(key) {
        const lock = createRedlock({ adapters, key, ttl: TTL_MS, retryAttempts, retryDelay: RETRY_DELAY_MS });
        const handle = await lock.acquire();
        return () => lock.release(handle);
      },
    };
  },
  async "redis-semaphore"(clients, waitMs) {
    const { RedlockMutex } = await import("redis-semaphore");
    const wait =
      waitMs === 0 ? { acquireAttemptsLimit: 1 } : { acquireTimeout: waitMs, retryInterval: RETRY_DELAY_MS };
    return {
      async acquire(key) {
        const mutex = new RedlockMutex(clients, key, { lockTimeout: TTL_MS, refreshInterval: 0, ...wait });
        await mutex.acquire();
        return () => mutex.release();
      },
    };
  },
};

function retries(waitMs) {
  if (waitMs === 0) return { retryCount: 0 };
  return {
    ...REDLOCK_RETRY,
    retryCount: Math.ceil(waitMs / REDLOCK_RETRY.retryDelay),
    automaticExtensionThreshold: 100,
  };
}

function redlockLike(redlock) {
  redlock.on("error", () => undefined);
  return {
    async acquire(key) {
      const lock = await redlock.acquire([key], TTL_MS);
      return () => lock.release();
    },
  };
}
