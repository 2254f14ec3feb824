/** The part of a node-zookeeper-client that the adapter uses, and clients of its own made after the caller's. */
import type { Socket } from "node:net";

/** An entry of an access list: an `ACL` of node-zookeeper-client. */
export interface ZooKeeperAcl {
  readonly id: object;
}

/** A client of node-zookeeper-client. Structural, so that no client is imported. */
export interface ZooKeeperLike {
  connect(): void;
  close(): void;
  addAuthInfo(scheme: string, auth: Buffer): void;
  transaction(): object;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the client's types differ from one package of types to another
  getData(path: string, ...rest: any[]): void;
}

type Got = (error: unknown, data: Buffer | undefined, stat: Stat) => void;

/** As {@link ZooKeeperLike}, with what is called on a client of our own. */
export interface OwnClient {
  connect(): void;
  close(): void;
  addAuthInfo(scheme: string, auth: Buffer): void;
  transaction(): Transaction;
  getData(path: string, callback: Got): void;
  getData(path: string, watcher: () => void, callback: Got): void;
  setData(path: string, data: Buffer, version: number, callback: (error: unknown, stat: Stat) => void): void;
  create(
    path: string,
    data: Buffer,
    acl: readonly ZooKeeperAcl[] | undefined,
    callback: (error: unknown) => void,
  ): void;
  remove(path: string, version: number, callback: (error: unknown) => void): void;
  getChildren(path: string, callback: (error: unknown, children: readonly string[]) => void): void;
  getACL(path: string, callback: (error: unknown, acl: readonly unknown[]) => void): void;
  readonly connectionManager: Manager;
}

/** Steps that happen all or not at all. */
export interface Transaction {
  /** A version of 0 means any: `version || -1`. */
  check(path: string, version: number): void;
  create(path: string, data: Buffer, acl: readonly ZooKeeperAcl[] | undefined): void;
  /** A version of 0 means any. */
  setData(path: string, data: Buffer, version: number): void;
  /** A version of 0 means any. */
  remove(path: string, version: number): void;
  commit(callback: (error: unknown, results: readonly unknown[] | undefined) => void): void;
}

/** What the server says of a znode. */
export interface Stat {
  readonly version: number;
  /** Big-endian milliseconds since 1970. */
  readonly mtime: Buffer;
}

/** The connection of a client. Not documented, but the same in all its releases since 0.2. */
export interface Manager {
  readonly state: number;
  readonly socket?: Socket;
  readonly servers: readonly object[];
  readonly connectTimeoutHandler?: NodeJS.Timeout | null;
  connect(): void;
  onSocketData(bytes: Buffer): void;
  on(event: "state", listener: (state: number) => void): void;
  off(event: "state", listener: (state: number) => void): void;
}

/** States of {@link Manager}. */
export const STATE = {
  disconnected: 0,
  connecting: 1,
  connected: 2,
  expired: -3,
  authenticationFailed: -4,
} as const;

/** It holds no ephemeral znode, so that only servers and their clean-up care; within what a stock server allows. */
const SESSION_TIMEOUT_MS = 10_000;

/** Whether the adapter can make clients of its own after it. */
export function isClient(client: unknown): client is ZooKeeperLike {
  const of = (object: unknown, name: string): unknown =>
    typeof object === "object" && object !== null ? Reflect.get(object, name) : undefined;
  const manager = of(client, "connectionManager");
  return (
    typeof of(client, "getData") === "function" &&
    typeof of(client, "transaction") === "function" &&
    typeof of(client, "constructor") === "function" &&
    typeof of(manager, "onSocketData") === "function" &&
    typeof of(manager, "connect") === "function" &&
    typeof of(of(manager, "connectionStringParser"), "connectionString") === "string"
  );
}

/** The connection string of a client. */
export function addressOf(client: ZooKeeperLike): string {
  const manager = Reflect.get(client, "connectionManager") as object;
  return (Reflect.get(manager, "connectionStringParser") as { readonly connectionString: string })
    .connectionString;
}

/** A client to the same servers with the same credentials; not connected yet. */
export function clientLike(client: ZooKeeperLike): OwnClient {
  const Client = client.constructor as new (address: string, options: object) => OwnClient;
  const own = new Client(addressOf(client), {
    sessionTimeout: SESSION_TIMEOUT_MS,
    spinDelay: 0,
    retries: 0,
  });
  const manager = Reflect.get(client, "connectionManager") as object;
  const credentials = Reflect.get(manager, "credentials") as unknown;
  for (const each of Array.isArray(credentials) ? credentials : []) {
    const { scheme, auth } = each as { readonly scheme: string; readonly auth: Buffer };
    own.addAuthInfo(scheme, auth);
  }
  return own;
}
