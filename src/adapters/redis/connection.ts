/**
 * One connection per client, shared by all lockers of the process: the client itself where its settings are safe, else
 * a duplicate that is opened with the first session and closed with the last.
 */
import { notConnected } from "./faults.js";
import { isSafe, safeDuplicate, type RedisLike } from "./client.js";

/** A client and what is known of its connection. */
export interface Connection {
  readonly client: RedisLike;
  /** Another number for every connection to the server; what was learnt on one means nothing on the next. */
  epoch(): number;
  isReady(): boolean;
  /** Resolves when ready; rejects with a `BackendError` when the last attempt to connect failed. */
  ready(backend: string): Promise<void>;
  /** What the connection last complained of; undefined while it works. */
  lastError(): unknown;
  /** The session is done with it. */
  leave(): void;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly backend: string;
}

const connections = new WeakMap<RedisLike, { readonly connection: Connection; users: number }>();

/** The connection of a client; every call must be followed by one `leave()`. */
export function connect(client: RedisLike): Connection {
  const known = connections.get(client);
  if (known !== undefined) {
    known.users++;
    return known.connection;
  }
  const shared = { connection: open(client, leave), users: 1 };
  connections.set(client, shared);
  return shared.connection;

  function leave(): boolean {
    if (--shared.users > 0) return false;
    connections.delete(client);
    return true;
  }
}

function open(users: RedisLike, isLast: () => boolean): Connection {
  const own = !isSafe(users);
  const client = own ? safeDuplicate(users) : users;
  let epoch = 0;
  let failed = false;
  let lastError: unknown;
  let waiters: readonly Waiter[] = [];

  const onReady = (): void => {
    epoch++;
    failed = false;
    lastError = undefined;
    const served = waiters;
    waiters = [];
    for (const waiter of served) waiter.resolve();
  };
  const onComplaint = (error: unknown): void => {
    lastError = error;
  };
  const onError = (error: unknown): void => {
    lastError = error;
    // Where no Sentinel answers, no "close" follows: it goes on trying, and whoever waits must know.
    if (client.status !== "ready") refuseAll();
  };
  const onClose = (): void => {
    epoch++;
    refuseAll();
  };
  const refuseAll = (): void => {
    failed = true;
    const refused = waiters;
    waiters = [];
    for (const waiter of refused) waiter.reject(notConnected(waiter.backend, reason()));
  };
  const reason = (): unknown =>
    lastError ?? (client.status === "end" ? new Error("its client was closed") : undefined);

  client.on("ready", onReady);
  client.on("error", onError);
  // A Cluster reports the reason of a failed connect with its nodes, and gives up with "end".
  client.on("close", onClose);
  client.on("end", onClose);
  if (client.isCluster) client.on("node error", onComplaint);
  if (client.status === "wait") {
    client.connect().catch((error: unknown) => {
      // Only that it was closed; why, was said before.
      lastError ??= error;
    });
  }

  return {
    client,
    epoch: () => epoch,
    isReady: () => client.status === "ready",
    lastError: () => lastError,
    ready(backend: string): Promise<void> {
      if (client.status === "ready") return Promise.resolve();
      // A client that its owner closed does not try again, and tells nobody who listens only now.
      if (failed || client.status === "end") return Promise.reject(notConnected(backend, reason()));
      return new Promise((resolve, reject) => {
        waiters = [...waiters, { resolve, reject, backend }];
      });
    },
    leave(): void {
      if (!isLast()) return;
      client.off("ready", onReady);
      client.off("close", onClose);
      client.off("end", onClose);
      onClose();
      if (!own) {
        client.off("error", onError);
        return;
      }
      // The error listener stays: a socket may still complain, and without a listener that ends the process.
      client.disconnect();
    },
  };
}
