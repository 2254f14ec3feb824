/** ZooKeeper through node-zookeeper-client: persistent znodes and transactions. */
import type { Backend, BackendSession, Capabilities, Deployment } from "../backend.js";
import { InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { openCasSession } from "./shared/cas-session.js";
import { addressOf, isClient, type ZooKeeperAcl, type ZooKeeperLike } from "./zookeeper/client.js";
import { connect } from "./zookeeper/connection.js";
import { createZooKeeperStore } from "./zookeeper/store.js";

export type { ZooKeeperAcl, ZooKeeperLike } from "./zookeeper/client.js";

/** Options of {@link zookeeper}. */
export interface ZooKeeperBackendOptions {
  /** What messages and logs call it. Default: the connection string. */
  readonly name?: string;
  /** The znode below which all lies: `/prefix/keys/…`, `/prefix/mark`. Letters, digits, `_` and `-`. Default "quorum-lock". */
  readonly prefix?: string;
  /** What the znodes are created with, such as `[new ACL(Permission.ALL, new Id("auth", ""))]`. Default: open to everybody. */
  readonly acl?: readonly ZooKeeperAcl[];
  /** How long one request may take, in milliseconds; an operation takes two. Default 1000. */
  readonly requestTimeoutMs?: number;
}

const OPTIONS: ReadonlySet<string> = new Set<keyof ZooKeeperBackendOptions>([
  "name",
  "prefix",
  "acl",
  "requestTimeoutMs",
]);
const PREFIX = /^[\w-]{1,32}$/;
const REQUEST_TIMEOUT_MS = 1_000;
const REQUEST_TIMEOUT_MS_MAX = 60_000;

/** Its clock shows itself in whole milliseconds: an end is counted from the latest that it may be. */
const LATE_BY_MS = 3;

/**
 * A backend on one ZooKeeper server or ensemble. The caller's client says where it is and with which credentials; it is
 * never used, closed or reconfigured, and need not be connected: its calls never time out, what it could not send it
 * sends later, and once its session has expired it is dead. The backend has a connection of its own, made by the same package.
 *
 * @example
 * ```ts
 * import { createClient } from "node-zookeeper-client";
 * import { createLocker } from "quorum-lock";
 * import { zookeeper } from "quorum-lock/zookeeper";
 *
 * const servers = ["a.internal:2181", "b.internal:2181", "c.internal:2181"];
 * const locker = createLocker({ backends: servers.map((server) => zookeeper(createClient(server))) });
 * await locker.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function zookeeper(client: ZooKeeperLike, options: ZooKeeperBackendOptions = {}): Backend {
  if (!isClient(client)) {
    throw new InvalidOptionError("zookeeper(client)", "a client of node-zookeeper-client", client);
  }
  refuseUnknownOptions(options, OPTIONS, "the options of zookeeper()");
  const { prefix = "quorum-lock", acl, requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
  if (typeof prefix !== "string" || !PREFIX.test(prefix) || prefix === "zookeeper") {
    const rule = "1 to 32 letters, digits, `_` or `-`, and not ZooKeeper's own folder";
    throw new InvalidOptionError("zookeeper(…, { prefix })", rule, prefix);
  }
  if (acl !== undefined && (!Array.isArray(acl) || acl.length === 0 || !acl.every(isAcl))) {
    const rule = "a list of at least one ACL of node-zookeeper-client";
    throw new InvalidOptionError("zookeeper(…, { acl })", rule, acl);
  }
  if (
    !Number.isInteger(requestTimeoutMs) ||
    requestTimeoutMs < 1 ||
    requestTimeoutMs > REQUEST_TIMEOUT_MS_MAX
  ) {
    const rule = `a whole number from 1 to ${REQUEST_TIMEOUT_MS_MAX}`;
    throw new InvalidOptionError("zookeeper(…, { requestTimeoutMs })", rule, requestTimeoutMs);
  }
  const name = options.name ?? addressOf(client);
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("zookeeper(…, { name })", "a non-empty string", name);
  }
  const capabilities: Capabilities = {
    earlyByMs: 0,
    lateByMs: LATE_BY_MS,
    expiryClock: "wall",
    durable: true,
    lists: true,
    wakes: true,
    coalesces: "no",
    atomicStep: "one multi, conditional on the mark and on the znode's version",
    acquireRoundTrips: 2,
  };
  return {
    kind: "zookeeper",
    name,
    capabilities,
    client,
    open(deployment: Deployment): BackendSession {
      const connection = connect(client, { name, acl, requestTimeoutMs });
      return openCasSession(createZooKeeperStore(connection, { name, prefix }), {
        name,
        durable: true,
        deployment,
        markPlace: `the znode /${prefix}/mark and its child`,
      });
    },
  };
}

function isAcl(each: unknown): boolean {
  return typeof Reflect.get(Object(each), "toRecord") === "function";
}
