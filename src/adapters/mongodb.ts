/** MongoDB through the official driver: one document for each key, replaced if it is still the one that was read. */
import type { Backend, BackendSession, Capabilities, Deployment } from "../backend.js";
import { InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { openCasSession } from "./shared/cas-session.js";
import { isClient, nameOf, type MongoLike } from "./mongodb/client.js";
import { createMongoStore } from "./mongodb/store.js";

export type { MongoLike } from "./mongodb/client.js";

/** Options of {@link mongodb}. */
export interface MongoBackendOptions {
  /** What messages and logs call it. Default: the hosts of the client. */
  readonly name?: string;
  /** Default "quorum_lock". */
  readonly database?: string;
  /** The collection that holds all locks and the mark; made on first use. Default "locks". */
  readonly collection?: string;
  /** How long one request may take, in milliseconds; an operation takes two, and four for a new key. Default 1000. */
  readonly requestTimeoutMs?: number;
}

const OPTIONS: ReadonlySet<string> = new Set<keyof MongoBackendOptions>([
  "name",
  "database",
  "collection",
  "requestTimeoutMs",
]);
const NAME = /^[\w-]{1,48}$/;
const REQUEST_TIMEOUT_MS = 1_000;
const REQUEST_TIMEOUT_MS_MAX = 60_000;

/** Its clock shows itself in whole milliseconds: an end is counted from the latest that it may be. */
const LATE_BY_MS = 3;

/**
 * A backend on one MongoDB: a server by itself, or a replica set, which is one vote. The caller's client is used as it is,
 * and never closed or reconfigured: every request says its own bound, its write concern (`majority`, journaled), its read
 * concern and that it wants the primary.
 *
 * @example
 * ```ts
 * import { MongoClient } from "mongodb";
 * import { createLocker } from "quorum-lock";
 * import { mongodb } from "quorum-lock/mongodb";
 *
 * const clients = ["a", "b", "c"].map((host) => new MongoClient(`mongodb://${host}.internal:27017`));
 * const locker = createLocker({ backends: clients.map((client) => mongodb(client)) });
 * await locker.close();
 * for (const client of clients) await client.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function mongodb(client: MongoLike, options: MongoBackendOptions = {}): Backend {
  if (!isClient(client)) throw new InvalidOptionError("mongodb(client)", "a MongoClient of mongodb", client);
  refuseUnknownOptions(options, OPTIONS, "the options of mongodb()");
  const { database = "quorum_lock", collection = "locks", requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
  for (const [option, value] of Object.entries({ database, collection })) {
    if (typeof value === "string" && NAME.test(value)) continue;
    throw new InvalidOptionError(`mongodb(…, { ${option} })`, "1 to 48 letters, digits, `_` or `-`", value);
  }
  if (
    !Number.isInteger(requestTimeoutMs) ||
    requestTimeoutMs < 1 ||
    requestTimeoutMs > REQUEST_TIMEOUT_MS_MAX
  ) {
    const rule = `a whole number from 1 to ${REQUEST_TIMEOUT_MS_MAX}`;
    throw new InvalidOptionError("mongodb(…, { requestTimeoutMs })", rule, requestTimeoutMs);
  }
  const name = options.name ?? nameOf(client);
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("mongodb(…, { name })", "a non-empty string", name);
  }
  const capabilities: Capabilities = {
    earlyByMs: 0,
    lateByMs: LATE_BY_MS,
    expiryClock: "wall",
    durable: true,
    lists: true,
    coalesces: "no",
    atomicStep: "one update of one document, conditional on its version and generation",
    acquireRoundTrips: 2,
  };
  return {
    kind: "mongodb",
    name,
    capabilities,
    client,
    open(deployment: Deployment): BackendSession {
      const store = createMongoStore(client, { name, database, collection, requestTimeoutMs });
      return openCasSession(store, {
        name,
        durable: true,
        deployment,
        markPlace: `the document { _id: { ql: "mark" } } of ${database}.${collection}`,
      });
    },
  };
}
