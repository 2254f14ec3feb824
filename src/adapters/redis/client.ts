/** The part of an ioredis client that the adapter uses, and the settings under which it is safe. */

/** An ioredis client: `Redis` (single server or Sentinel) or `Cluster`. Structural, so that no client is imported. */
export interface RedisLike {
  readonly status: string;
  readonly options: object;
  readonly isCluster: boolean;
  evalsha(sha: string, keys: number, ...args: string[]): Promise<unknown>;
  eval(lua: string, keys: number, ...args: string[]): Promise<unknown>;
  call(command: string, ...args: string[]): Promise<unknown>;
  /** Missing in a client that cannot; nobody is woken by it then. */
  subscribe?(channel: string): Promise<unknown>;
  connect(): Promise<void>;
  disconnect(reconnect?: boolean): void;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- Redis and Cluster take different arguments
  duplicate(...args: any[]): RedisLike;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  on(event: string, listener: (...args: any[]) => void): unknown;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  off(event: string, listener: (...args: any[]) => void): unknown;
}

/** The settings of an ioredis client that matter to a lock. */
export interface RecommendedRedisOptions {
  readonly enableOfflineQueue: false;
  readonly autoResendUnfulfilledCommands: false;
  readonly maxRetriesPerRequest: 0;
  readonly enableReadyCheck: boolean;
  readonly socketTimeout: number;
  readonly connectTimeout: number;
  readonly disconnectTimeout: number;
  readonly retryStrategy: (attempts: number) => number;
}

const SOCKET_TIMEOUT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 2_000;
const DISCONNECT_TIMEOUT_MS = 200;

/**
 * The settings under which `redis()` uses your own ioredis client instead of a duplicate:
 * nothing is queued while disconnected (`enableOfflineQueue`), nothing is sent twice
 * (`autoResendUnfulfilledCommands`, `maxRetriesPerRequest`: an acquire executed a second later is a ghost),
 * a connection that owes an answer for a second is replaced (`socketTimeout`: without it a partition of 15 s was
 * measured to last 26 s), reconnecting is quick (`retryStrategy`), and a process that closed its client need not wait two
 * seconds for a server that is gone (`disconnectTimeout`). The ready check is off (`enableReadyCheck`), since
 * the mark is read at every connect anyway: a server that is loading its data says so at once, and is used as soon as it
 * has, where the check would sleep up to ten seconds. There is no `commandTimeout`: the locker has a deadline for every
 * round, and one timer less for every command. With Sentinel the ready check matters: pass a stock client.
 *
 * @example
 * ```ts
 * import { Redis } from "ioredis";
 * import { recommendedRedisOptions } from "quorum-lock/redis";
 *
 * const client = new Redis({ host: "127.0.0.1", port: 6379, lazyConnect: true, ...recommendedRedisOptions() });
 * client.disconnect();
 * ```
 */
export function recommendedRedisOptions(): RecommendedRedisOptions {
  return {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
    socketTimeout: SOCKET_TIMEOUT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    retryStrategy: (attempts) => Math.min(50 * attempts, 500),
  };
}

/** Whether the client may be used as it is. */
export function isSafe(client: RedisLike): boolean {
  if (client.isCluster) return false;
  const read = (option: keyof RecommendedRedisOptions | "enableAutoPipelining" | "sentinels"): unknown =>
    Reflect.get(client.options, option);
  // Without the check of the role a client of a Sentinel group may sit on a demoted master.
  if (Array.isArray(read("sentinels")) && read("enableReadyCheck") === false) return false;
  const socketTimeout = read("socketTimeout");
  return (
    read("enableOfflineQueue") === false &&
    read("autoResendUnfulfilledCommands") === false &&
    read("maxRetriesPerRequest") === 0 &&
    read("enableAutoPipelining") !== true &&
    typeof socketTimeout === "number" &&
    socketTimeout > 0
  );
}

/** A client of the adapter's own, to the same servers, with safe settings; not connected yet. */
export function safeDuplicate(client: RedisLike): RedisLike {
  if (client.isCluster) {
    const { retryStrategy, maxRetriesPerRequest: _, ...nodes } = recommendedRedisOptions();
    return client.duplicate([], {
      lazyConnect: true,
      enableOfflineQueue: false,
      enableAutoPipelining: false,
      // Neither may resend a command whose connection broke: it may have been executed.
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      clusterRetryStrategy: retryStrategy,
      redisOptions: { ...(Reflect.get(client.options, "redisOptions") as object | undefined), ...nodes },
    });
  }
  const sentinels = Reflect.get(client.options, "sentinels") as unknown;
  return client.duplicate({
    ...recommendedRedisOptions(),
    lazyConnect: true,
    enableAutoPipelining: false,
    autoResubscribe: false,
    // A master that was demoted answers READONLY until the connection is made anew, to the new one.
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
    // Sentinel checks the role with it.
    enableReadyCheck: Array.isArray(sentinels),
  });
}

/** What messages call the server of a client. */
export function nameOf(client: RedisLike): string {
  const read = (option: string): unknown => Reflect.get(client.options, option);
  if (client.isCluster) return "redis-cluster";
  const sentinelName = read("name");
  if (Array.isArray(read("sentinels")) && typeof sentinelName === "string") return `sentinel:${sentinelName}`;
  const path = read("path");
  if (typeof path === "string" && path !== "") return path;
  const db = read("db");
  const database = typeof db === "number" && db > 0 ? `/${db}` : "";
  const host = read("host");
  const port = read("port");
  return `${typeof host === "string" ? host : "localhost"}:${typeof port === "number" ? port : 6379}${database}`;
}
