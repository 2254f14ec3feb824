/** etcd through an etcd3 client: a single member or a whole cluster, which is one backend. */
import type { Backend, BackendSession, Capabilities, Deployment } from "../backend.js";
import { InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { CALL_TIMEOUT_MS, nameOf, type EtcdLike } from "./etcd/client.js";
import { openEtcdStore } from "./etcd/store.js";
import { openCasSession } from "./shared/cas-session.js";

export { recommendedEtcdOptions } from "./etcd/client.js";
export type { EtcdLike, RecommendedEtcdOptions } from "./etcd/client.js";

/** Options of {@link etcd}. */
export interface EtcdBackendOptions {
  /** What messages and logs call it. Default: its hosts. */
  readonly name?: string;
  /** Put before all keys: `prefix/l/KEY`, `prefix/f/KEY`, `prefix/w/KEY`, `prefix/mark`. Letters, digits, `_` and `-`. Default "ql". */
  readonly prefix?: string;
  /**
   * How long one call may take, in milliseconds, 100 to 60,000; an acquire makes two, one after the other. Default
   * 1,000, which is long for a cluster in one place and may be short for one whose disks or links are slow.
   */
  readonly callTimeoutMs?: number;
}

const OPTIONS: ReadonlySet<string> = new Set<keyof EtcdBackendOptions>(["name", "prefix", "callTimeoutMs"]);
const PREFIX = /^[\w-]{1,32}$/;

/**
 * A lease lasts whole seconds, at least one and a half election timeouts (2 s by default), and its end is noticed every
 * half second and told through the cluster.
 */
const LATE_BY_MS = 3_000;

const CAPABILITIES: Capabilities = {
  earlyByMs: 0,
  lateByMs: LATE_BY_MS,
  expiryClock: "monotonic",
  durable: true,
  lists: true,
  coalesces: "transaction",
  atomicStep: "one transaction that compares revisions",
  acquireRoundTrips: 2,
};

/**
 * A backend on one etcd 3.4+ cluster (one member or several: one vote), through the caller's `Etcd3` client of the package
 * etcd3, which is never closed or reconfigured. Where its settings are unsafe for a lock (a stock `new Etcd3()` repeats
 * calls and waits for ever), the backend uses a client of its own to the same hosts with {@link recommendedEtcdOptions}, and
 * closes that one. A single cluster as a quorum of one is a first-class use.
 *
 * @example
 * ```ts
 * import { Etcd3 } from "etcd3";
 * import { createLocker } from "quorum-lock";
 * import { etcd } from "quorum-lock/etcd";
 *
 * const client = new Etcd3({ hosts: "http://127.0.0.1:2379" });
 * const locker = createLocker({ backends: [etcd(client)] });
 * await locker.close();
 * client.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function etcd(client: EtcdLike, options: EtcdBackendOptions = {}): Backend {
  if (
    typeof client?.kv?.txn !== "function" ||
    typeof client.leaseClient?.leaseGrant !== "function" ||
    typeof client.maintenance?.status !== "function"
  ) {
    throw new InvalidOptionError("etcd(client)", "an Etcd3 client of the package etcd3", client);
  }
  refuseUnknownOptions(options, OPTIONS, "the options of etcd()");
  const { prefix = "ql", name = nameOf(client), callTimeoutMs = CALL_TIMEOUT_MS } = options;
  if (typeof prefix !== "string" || !PREFIX.test(prefix)) {
    throw new InvalidOptionError("etcd(…, { prefix })", "1 to 32 letters, digits, `_` or `-`", prefix);
  }
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("etcd(…, { name })", "a non-empty string", name);
  }
  if (!Number.isFinite(callTimeoutMs) || callTimeoutMs < 100 || callTimeoutMs > 60_000) {
    throw new InvalidOptionError("etcd(…, { callTimeoutMs })", "100 to 60000 milliseconds", callTimeoutMs);
  }
  return {
    kind: "etcd",
    name,
    capabilities: { ...CAPABILITIES, wakes: typeof client.watchClient?.watch === "function" },
    client,
    open(deployment: Deployment): BackendSession {
      const { tokenRetentionMs: retentionMs } = deployment;
      const store = openEtcdStore(client, { name, prefix, callTimeoutMs, retentionMs });
      return openCasSession(store, {
        name,
        durable: true,
        deployment,
        markPlace: `the keys ${prefix}/mark and ${prefix}/quarantine`,
      });
    },
  };
}
