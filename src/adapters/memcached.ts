/** memcached through a memjs client: one server, whose memory ends with its process. */
import type { Backend, BackendSession, Capabilities, Deployment } from "../backend.js";
import { InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { nameOf, type MemcachedLike } from "./memcached/client.js";
import { openMemcachedStore } from "./memcached/store.js";
import { openCasSession } from "./shared/cas-session.js";

export type { MemcachedLike } from "./memcached/client.js";

/** Options of {@link memcached}. */
export interface MemcachedBackendOptions {
  /** What messages and logs call it. Default: host and port. */
  readonly name?: string;
  /** Put before all keys: `prefix:k:KEY`, `prefix:mark`. Letters, digits, `_` and `-`. Default "ql". */
  readonly prefix?: string;
}

const OPTIONS: ReadonlySet<string> = new Set<keyof MemcachedBackendOptions>(["name", "prefix"]);
const PREFIX = /^[\w-]{1,32}$/;

/** Two seconds for what its clock does not show when a lock begins, and two for what it does not show when it ends. */
const LATE_BY_MS = 4_000;

const CAPABILITIES: Capabilities = {
  earlyByMs: 0,
  lateByMs: LATE_BY_MS,
  expiryClock: "monotonic",
  durable: false,
  lists: false,
  coalesces: "no",
  atomicStep: "one compare and swap of an item, with the mark read before and after",
  acquireRoundTrips: 2,
};

/**
 * A backend on one memcached 1.6+ server, through the caller's `Client` of the package memjs, which must have one server
 * and is never used, closed or reconfigured: the backend makes connections of its own to the same server, with the same
 * user and password, since memjs's own repeat requests and mix up what they read before and after a break.
 *
 * memcached forgets everything when its process ends, and is quarantined then. Start it with `-M`: without, it evicts locks
 * when its memory is used up, and nobody notices.
 *
 * @example
 * ```ts
 * import { Client } from "memjs";
 * import { createLocker } from "quorum-lock";
 * import { memcached } from "quorum-lock/memcached";
 *
 * const clients = [11211, 11212, 11213].map((port) => Client.create(`127.0.0.1:${port}`));
 * const locker = createLocker({ backends: clients.map((client) => memcached(client)) });
 * await locker.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function memcached(client: MemcachedLike, options: MemcachedBackendOptions = {}): Backend {
  if (typeof client?.perform !== "function" || !Array.isArray(client.servers)) {
    throw new InvalidOptionError("memcached(client)", "a Client of the package memjs", client);
  }
  if (client.servers.length !== 1) {
    const rule = "a client with one server: several that share keys out among them are no backend";
    throw new InvalidOptionError("memcached(client)", rule, `one with ${client.servers.length}`);
  }
  refuseUnknownOptions(options, OPTIONS, "the options of memcached()");
  const { prefix = "ql", name = nameOf(client) } = options;
  if (typeof prefix !== "string" || !PREFIX.test(prefix)) {
    throw new InvalidOptionError("memcached(…, { prefix })", "1 to 32 letters, digits, `_` or `-`", prefix);
  }
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("memcached(…, { name })", "a non-empty string", name);
  }
  return {
    kind: "memcached",
    name,
    capabilities: CAPABILITIES,
    client,
    open(deployment: Deployment): BackendSession {
      const store = openMemcachedStore(client, { name, prefix });
      return openCasSession(store, {
        name,
        durable: false,
        deployment,
        markPlace: `the item ${prefix}:mark`,
      });
    },
  };
}
