/** Redis and Valkey through an ioredis client (single server, Sentinel or Cluster) or a node-redis one (single server). */
import type { Backend, BackendSession, Capabilities, Deployment } from "../backend.js";
import { BackendError, InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { nameOf, type RedisLike } from "./redis/client.js";
import { fromNodeRedis, isNodeRedis, type NodeRedisLike } from "./redis/node-redis.js";
import { openSession } from "./redis/session.js";

export { recommendedRedisOptions } from "./redis/client.js";
export type { RecommendedRedisOptions, RedisLike } from "./redis/client.js";
export type { NodeRedisLike } from "./redis/node-redis.js";

/** Options of {@link redis}. */
export interface RedisBackendOptions {
  /** What messages and logs call it. Default: host and port. */
  readonly name?: string;
  /**
   * Whether an acknowledged write survives a restart of the server. Say true only with `appendfsync always`; with
   * less, a crash may lose what was acknowledged, and two clients may hold one lock. Default false: every restart
   * and failover counts as a loss of memory.
   */
  readonly durable?: boolean;
  /** Put before all keys: `{prefix:KEY}:l`, `{prefix:KEY}:f`, `prefix:mark`. Letters, digits, `_` and `-`. Default "ql". */
  readonly prefix?: string;
}

const OPTIONS: ReadonlySet<string> = new Set<keyof RedisBackendOptions>(["name", "durable", "prefix"]);
const PREFIX = /^[\w-]{1,32}$/;

/** Keys are stored in whole milliseconds; see `docs/protocol.md`. */
const EARLY_BY_MS = 1;
const LATE_BY_MS = 2;

/**
 * A backend on one Redis 7+ or Valkey server (or one Sentinel group, or one Cluster), through the caller's ioredis
 * client, which is never closed or reconfigured. Where its settings are unsafe for a lock (a stock `new Redis()`), the
 * backend uses a duplicate of its own with {@link recommendedRedisOptions}, and closes that one. A client of node-redis
 * (`createClient()` of the package `redis`, 5 or 6) is always duplicated, and need not be connected.
 *
 * @example
 * ```ts
 * import { Redis } from "ioredis";
 * import { createLocker } from "quorum-lock";
 * import { redis } from "quorum-lock/redis";
 *
 * const clients = [6379, 6380, 6381].map((port) => new Redis({ port, lazyConnect: true }));
 * const locker = createLocker({ backends: clients.map((client) => redis(client)) });
 * await locker.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function redis(client: RedisLike | NodeRedisLike, options: RedisBackendOptions = {}): Backend {
  const spoken = spokenBy(client);
  refuseUnknownOptions(options, OPTIONS, "the options of redis()");
  const { durable = false, prefix = "ql" } = options;
  if (typeof durable !== "boolean")
    throw new InvalidOptionError("redis(…, { durable })", "true or false", durable);
  if (typeof prefix !== "string" || !PREFIX.test(prefix)) {
    throw new InvalidOptionError("redis(…, { prefix })", "1 to 32 letters, digits, `_` or `-`", prefix);
  }
  const name = options.name ?? nameOf(spoken);
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("redis(…, { name })", "a non-empty string", name);
  }
  const capabilities: Capabilities = {
    earlyByMs: EARLY_BY_MS,
    lateByMs: LATE_BY_MS,
    expiryClock: "wall",
    durable,
    // A Cluster would have to be scanned master by master, while slots move.
    lists: !spoken.isCluster,
    wakes: !spoken.isCluster && spoken.subscribe !== undefined,
    coalesces: spoken.isCluster ? "no" : "script",
    atomicStep: "one Lua script",
    acquireRoundTrips: 1,
  };
  return {
    kind: "redis",
    name,
    capabilities,
    client,
    open(deployment: Deployment): BackendSession {
      if (spoken.isCluster && !durable && deployment.restartGuard !== "off") {
        const what =
          "a Redis Cluster has no one mark that tells whether its memory is new. Say durable: true if every master " +
          'acknowledges only what survives a restart, or restartGuard: "off", or use independent servers instead';
        throw new BackendError("BACKEND_MARK_UNREADABLE", { backend: name, what });
      }
      return openSession(spoken, { name, prefix, durable, deployment });
    },
  };
}

/** The client as the adapter speaks to it. */
function spokenBy(user: RedisLike | NodeRedisLike): RedisLike {
  if (typeof user === "object" && user !== null && isNodeRedis(user)) return fromNodeRedis(user);
  if (typeof user?.evalsha !== "function" || typeof user.duplicate !== "function") {
    throw new InvalidOptionError(
      "redis(client)",
      "an ioredis client (Redis or Cluster) or a node-redis one",
      user,
    );
  }
  return user;
}
