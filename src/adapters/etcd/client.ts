/** The part of an etcd3 client that the adapter uses, and the settings under which it is safe. */
import { isOurPolicy, safePolicies, type EtcdPolicies } from "./policies.js";

/** An `Etcd3` client of the package etcd3. Structural, so that no client is imported. */
export interface EtcdLike {
  readonly kv: {
    range(request: object, options?: object): Promise<EtcdRange>;
    txn(request: object, options?: object): Promise<EtcdTxn>;
  };
  readonly leaseClient: {
    leaseGrant(
      request: object,
      options?: object,
    ): Promise<{ readonly ID: string; readonly TTL: string; readonly error: string }>;
    leaseRevoke(request: object, options?: object): Promise<unknown>;
    leaseTimeToLive(request: object, options?: object): Promise<{ readonly TTL: string }>;
  };
  readonly maintenance: {
    status(options?: object): Promise<EtcdStatus>;
    alarm(
      request: object,
      options?: object,
    ): Promise<{ readonly alarms?: readonly { readonly memberID: string; readonly alarm: string }[] }>;
  };
  readonly cluster: {
    memberList(options?: object): Promise<{
      readonly members: readonly {
        readonly ID: string;
        readonly name: string;
        readonly clientURLs: readonly string[];
      }[];
    }>;
  };
  /** Missing in clients that watch nothing. */
  readonly watchClient?: EtcdWatchClient;
  close(): void;
}

/** What opens streams of changes. */
export interface EtcdWatchClient {
  watch(): Promise<EtcdWatchStream>;
}

/** A stream of changes. */
export interface EtcdWatchStream {
  write(request: object): unknown;
  end(): unknown;
  cancel(): void;
  on(event: "error" | "end", listener: () => void): unknown;
  on(event: "data", listener: (told: EtcdWatchTold) => void): unknown;
}

export interface EtcdWatchTold {
  readonly created: boolean;
  readonly canceled: boolean;
  readonly events: readonly { readonly type: string; readonly kv: EtcdKeyValue }[];
}

/** What every answer of etcd begins with. 64-bit numbers are text. */
export interface EtcdHeader {
  readonly cluster_id: string;
  readonly member_id: string;
  readonly revision: string;
  readonly raft_term: string;
}

export interface EtcdKeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly mod_revision: string;
  /** "0" for none. */
  readonly lease: string;
}

export interface EtcdRange {
  readonly header: EtcdHeader;
  readonly kvs: readonly EtcdKeyValue[];
  readonly more: boolean;
}

export interface EtcdTxn {
  readonly header: EtcdHeader;
  readonly succeeded: boolean;
  readonly responses: readonly {
    readonly response_range?: Pick<EtcdRange, "kvs"> | null;
    readonly response_txn?: { readonly succeeded: boolean } | null;
  }[];
}

export interface EtcdStatus {
  readonly header: EtcdHeader;
  readonly version: string;
  readonly dbSize: string;
  readonly leader: string;
}

/** The settings of an etcd3 client that matter to a lock. */
export interface RecommendedEtcdOptions {
  readonly faultHandling: EtcdPolicies;
  readonly defaultCallOptions: (context: { readonly isStream: boolean }) => { readonly deadline?: number };
  readonly grpcOptions: Readonly<Record<string, number>>;
}

/** How long one call may take by default. */
export const CALL_TIMEOUT_MS = 1_000;

/**
 * The settings under which `etcd()` uses your own etcd3 client instead of a connection of its own: no call is repeated
 * that may have been sent (`faultHandling`: etcd3 by itself repeats three times, and after three failures sends nothing for
 * five seconds), every call has a deadline (`defaultCallOptions`: etcd3 by itself waits for ever for a server that hangs),
 * and reconnecting is quick (`grpcOptions`).
 *
 * @example
 * ```ts
 * import { Etcd3 } from "etcd3";
 * import { recommendedEtcdOptions } from "quorum-lock/etcd";
 *
 * const client = new Etcd3({ hosts: "http://127.0.0.1:2379", ...recommendedEtcdOptions() });
 * client.close();
 * ```
 */
export function recommendedEtcdOptions(): RecommendedEtcdOptions {
  return {
    faultHandling: safePolicies(),
    defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + CALL_TIMEOUT_MS }),
    grpcOptions: {
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.min_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 500,
      // What broke with its channel must not be used by the next one: it would wait for a connection that is dead.
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_retries": 0,
    },
  };
}

/** Whether the client may be used as it is. */
export function isSafe(client: EtcdLike): boolean {
  const { faultHandling, defaultCallOptions, grpcOptions } = optionsOf(client);
  const policies = faultHandling as { readonly global?: unknown } | undefined;
  const grpc = grpcOptions as Readonly<Record<string, unknown>> | undefined;
  return (
    isOurPolicy(policies?.global) &&
    typeof defaultCallOptions === "function" &&
    grpc?.["grpc.use_local_subchannel_pool"] === 1
  );
}

/** A client of the adapter's own, to the same servers, with safe settings; not connected yet. */
export function safeDuplicate(client: EtcdLike, hosts: unknown = optionsOf(client)["hosts"]): EtcdLike {
  const options = optionsOf(client);
  const safe = recommendedEtcdOptions();
  const Client = client.constructor as new (options: object) => EtcdLike;
  return new Client({
    ...options,
    hosts,
    ...safe,
    grpcOptions: { ...(options["grpcOptions"] as object | undefined), ...safe.grpcOptions },
  });
}

/** The servers of a client. */
export function hostsOf(client: EtcdLike): readonly string[] {
  const { hosts } = optionsOf(client);
  if (typeof hosts === "string") return [hosts];
  return Array.isArray(hosts) ? hosts.map(String) : [];
}

/** What messages call the servers of a client. */
export function nameOf(client: EtcdLike): string {
  const names = hostsOf(client).map((host) => host.replace(/^https?:\/\//, ""));
  return names.length === 0 ? "etcd" : names.join(",");
}

function optionsOf(client: EtcdLike): Readonly<Record<string, unknown>> {
  const options: unknown = Reflect.get(client, "options");
  return typeof options === "object" && options !== null ? (options as Record<string, unknown>) : {};
}

interface Shared {
  readonly client: EtcdLike;
  users: number;
}

const connections = new WeakMap<EtcdLike, Shared>();

/** The connection of a client, shared by all lockers of the process: itself where it is safe. Followed by one `leave()`. */
export function connect(client: EtcdLike): { readonly client: EtcdLike; readonly leave: () => void } {
  const shared = connections.get(client) ?? {
    client: isSafe(client) ? client : safeDuplicate(client),
    users: 0,
  };
  shared.users++;
  connections.set(client, shared);
  return {
    client: shared.client,
    leave(): void {
      if (--shared.users > 0) return;
      connections.delete(client);
      if (shared.client !== client) shared.client.close();
    },
  };
}
