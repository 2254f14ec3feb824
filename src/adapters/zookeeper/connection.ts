/**
 * One connection for each client of the caller, shared by all lockers of the process. A connection is used once: when it breaks or is
 * silent, it is given up with its client and its session, and the next request opens another one. So nothing that could not
 * be sent is sent later, and an expired session is nobody's.
 */
import { BackendError } from "../../errors.js";
import { within } from "../shared/within.js";
import {
  clientLike,
  STATE,
  type OwnClient,
  type Stat,
  type ZooKeeperAcl,
  type ZooKeeperLike,
} from "./client.js";
import { CODE, codeOf, faultOf, notConnected } from "./faults.js";

/** How a backend uses a client. */
export interface ConnectionOptions {
  readonly name: string;
  readonly acl: readonly ZooKeeperAcl[] | undefined;
  readonly requestTimeoutMs: number;
}

/** A znode that was read. */
export interface Znode {
  readonly text: string;
  readonly version: number;
}

/** One step of a multi. */
export type Step =
  | { readonly do: "check" | "remove"; readonly path: string }
  | { readonly do: "create"; readonly path: string; readonly text: string }
  /** `version` undefined: whatever it is. Never 0, which the client takes for any. */
  | {
      readonly do: "set";
      readonly path: string;
      readonly text: string;
      readonly version: number | undefined;
    };

/** What became of a multi. */
export type MultiReply = "done" | { readonly failedAt: number; readonly code: number | undefined };

/** Calls on one connection, which the server executes in the order in which they were made. */
export interface Calls {
  get(path: string): Promise<Znode | undefined>;
  /**
   * As `get`, and calls `fired` once: when the znode is written or deleted after that, or when the connection is over. Where
   * there is none, it is not called.
   */
  watch(path: string, fired: () => void): Promise<Znode | undefined>;
  /** Overwrites a znode, or undefined where there is none. Resolves to the server's clock in milliseconds. */
  touch(path: string): Promise<number | undefined>;
  create(path: string): Promise<void>;
  /** "conflict": it is not that version any more. */
  overwrite(path: string, znode: Znode): Promise<"written" | "conflict">;
  remove(path: string, version: number): Promise<void>;
  children(path: string): Promise<readonly string[]>;
  acl(path: string): Promise<readonly unknown[]>;
  multi(steps: readonly Step[]): Promise<MultiReply>;
  /** Host and port of the server behind the connection. */
  readonly peer: { readonly host: string; readonly port: number } | undefined;
}

/** A session's way to its server. */
export interface Connection {
  /** Runs calls within the bound of one request. */
  run<T>(calls: (on: Calls) => Promise<T>): Promise<T>;
  /** The session is done with it. */
  leave(): Promise<void>;
}

/** A client of ours and what became of it. */
interface Link {
  readonly client: OwnClient;
  readonly opened: Promise<void>;
  ready: boolean;
  over: boolean;
  lastError: unknown;
  /** Ends calls that the client would leave hanging. */
  readonly pending: Set<(error: unknown) => void>;
  readonly watches: Watches;
  readonly giveUp: (error: BackendError) => void;
}

/**
 * Who hears of the change of a znode, by its path. The client is given one function for each path, however many listen, and
 * cannot take it back: it stays until the znode is written.
 */
type Watches = Map<string, { readonly fire: () => void; readonly listeners: Set<() => void> }>;

interface Shared {
  link: Link | undefined;
  /** Why the last one could not be opened, and when that was. */
  failed: { readonly error: BackendError; readonly atMs: number } | undefined;
  users: number;
}

const shares = new WeakMap<ZooKeeperLike, Shared>();
/** A server that refuses is not asked more often than that. */
const REOPEN_MS = 50;
/** So long a server has to take note of the end of a session. */
const CLOSE_MS = 200;

/** The connection to the servers of a client; every call must be followed by one `leave()`. */
export function connect(template: ZooKeeperLike, options: ConnectionOptions): Connection {
  const { name, requestTimeoutMs } = options;
  const shared = shares.get(template) ?? { link: undefined, failed: undefined, users: 0 };
  shares.set(template, shared);
  shared.users++;
  let left = false;

  function open(): Link {
    const link = openLink(template, name, requestTimeoutMs, (error) => {
      if (shared.link === link) shared.link = undefined;
      if (!link.ready) shared.failed = { error, atMs: performance.now() };
    });
    shared.link = link;
    return link;
  }

  return {
    async run(calls) {
      if (left) throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
      const { failed } = shared;
      if (shared.link === undefined && failed !== undefined && performance.now() - failed.atMs < REOPEN_MS) {
        throw new BackendError(
          failed.error.code,
          { backend: name, what: whatOf(failed.error) },
          failed.error,
        );
      }
      const link = shared.link ?? open();
      await link.opened;
      shared.failed = undefined;
      return within(
        {
          backend: name,
          timeoutMs: requestTimeoutMs,
          // A connection that is silent for so long is not to be relied on; others wait on it too.
          onTimeout: () =>
            link.giveUp(
              new BackendError("BACKEND_DISCONNECTED", {
                backend: name,
                what: `its connection was given up, since it was silent for ${requestTimeoutMs} ms (it may still act on the request)`,
              }),
            ),
        },
        () => calls(callsOn(link, options)),
      );
    },

    async leave() {
      if (left) return;
      left = true;
      if (--shared.users > 0) return;
      const { link } = shared;
      shared.link = undefined;
      if (link !== undefined) await end(link, name);
    },
  };
}

/** The words of a fault without the name of its backend. */
function whatOf({ message, backend }: BackendError): string {
  return message.slice(`backend ${backend}: `.length);
}

function openLink(
  template: ZooKeeperLike,
  name: string,
  handshakeMs: number,
  onOver: (error: BackendError) => void,
): Link {
  const client = clientLike(template);
  const manager = client.connectionManager;
  let resolve: () => void = () => undefined;
  let reject: (error: BackendError) => void = () => undefined;
  const opened = new Promise<void>((onOpen, onFail) => {
    resolve = onOpen;
    reject = onFail;
  });
  // Whoever waits for it hears of it; nobody need wait.
  opened.catch(() => undefined);

  const link: Link = {
    client,
    opened,
    ready: false,
    over: false,
    lastError: undefined,
    pending: new Set(),
    watches: new Map(),
    giveUp(error) {
      if (link.over) return;
      link.over = true;
      clearTimeout(timer);
      manager.off("state", onState);
      destroy(client);
      onOver(error);
      reject(error);
      for (const fail of link.pending) fail(error);
      for (const { fire } of link.watches.values()) fire();
    },
  };

  const timer = setTimeout(() => {
    const what = `not connected: no answer to the handshake within ${handshakeMs} ms`;
    link.giveUp(new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what }));
  }, handshakeMs);

  // An error of a number that the client does not know would be thrown out of the socket's event, and end the process.
  const receive = manager.onSocketData;
  manager.onSocketData = function receiveSafely(bytes): void {
    try {
      receive.call(manager, bytes);
    } catch (error) {
      link.lastError ??= error;
      manager.socket?.destroy();
    }
  };

  // Each server once, and none after the connection was there.
  const dial = manager.connect;
  let dials = manager.servers.length;
  manager.connect = function dialAtMost(): void {
    if (link.over || link.ready || dials-- <= 0) return;
    dial.call(manager);
  };

  const onState = (state: number): void => {
    switch (state) {
      case STATE.connected:
        clearTimeout(timer);
        link.ready = true;
        resolve();
        return;
      case STATE.expired:
        return;
      case STATE.authenticationFailed: {
        const what = "it refuses the credentials";
        link.giveUp(new BackendError("BACKEND_AUTH", { backend: name, what }));
        return;
      }
      case STATE.disconnected: {
        const reason: unknown =
          link.lastError ?? manager.socket?.errored ?? new Error("it closed the connection");
        link.lastError = reason;
        if (link.ready) link.giveUp(faultOf(name, { code: CODE.connectionLoss }, reason));
        else if (dials <= 0) link.giveUp(notConnected(name, reason));
        return;
      }
      default:
    }
  };
  manager.on("state", onState);
  client.connect();
  return link;
}

/** Ends its session, within a bound. */
async function end(link: Link, name: string): Promise<void> {
  const { client } = link;
  const socket = client.connectionManager.socket;
  const closed = new BackendError("BACKEND_DISCONNECTED", { backend: name, what: "closed" });
  if (!link.ready || socket === undefined || socket.destroyed) {
    link.giveUp(closed);
    return;
  }
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, CLOSE_MS);
    socket.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
    client.close();
  });
  link.giveUp(closed);
}

function destroy(client: OwnClient): void {
  const { socket, connectTimeoutHandler } = client.connectionManager;
  if (connectTimeoutHandler !== null) clearTimeout(connectTimeoutHandler);
  socket?.destroy();
}

function callsOn(link: Link, { name, acl }: ConnectionOptions): Calls {
  const { client } = link;

  /** One call; rejects with what the client says, or when the connection is given up. */
  function call<T>(make: (done: (error: unknown, value?: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      if (link.over) {
        reject(notConnected(name, link.lastError));
        return;
      }
      const fail = (error: unknown): void => {
        link.pending.delete(fail);
        reject(error);
      };
      link.pending.add(fail);
      make((error, value) => {
        if (error !== null && error !== undefined) fail(error);
        else {
          link.pending.delete(fail);
          resolve(value as T);
        }
      });
    });
  }

  /** As `call`, with another end for some errors, and a typed fault for all others. */
  async function expecting<T, Other>(
    make: (done: (error: unknown, value?: T) => void) => void,
    ends: ReadonlyMap<number, Other>,
  ): Promise<T | Other> {
    try {
      return await call(make);
    } catch (error) {
      const code = codeOf(error);
      if (code !== undefined && ends.has(code)) return ends.get(code) as Other;
      throw faultOf(name, error, link.lastError);
    }
  }

  const { remoteAddress, remotePort } = client.connectionManager.socket ?? {};
  return {
    peer:
      remoteAddress === undefined || remotePort === undefined
        ? undefined
        : { host: remoteAddress, port: remotePort },

    get: (path) =>
      expecting<Znode, undefined>(
        (done) =>
          client.getData(path, (error, data, stat) =>
            done(error, error ? undefined : { text: data?.toString("utf8") ?? "", version: stat.version }),
          ),
        new Map([[CODE.noNode, undefined]]),
      ),

    async watch(path, fired) {
      const { fire, listeners } = link.watches.get(path) ?? watchOn(link, path);
      // Before it is read: what is written behind the read fires at once.
      listeners.add(fired);
      try {
        const znode = await expecting<Znode, undefined>(
          (done) =>
            client.getData(path, fire, (error, data, stat) =>
              done(error, error ? undefined : { text: data?.toString("utf8") ?? "", version: stat.version }),
            ),
          new Map([[CODE.noNode, undefined]]),
        );
        if (znode === undefined) listeners.delete(fired);
        return znode;
      } catch (error) {
        listeners.delete(fired);
        throw error;
      }
    },

    touch: (path) =>
      expecting<number, undefined>(
        (done) =>
          client.setData(path, NOTHING, -1, (error, stat: Stat | undefined) =>
            done(error, stat === undefined ? undefined : Number(stat.mtime.readBigInt64BE())),
          ),
        new Map([[CODE.noNode, undefined]]),
      ),

    create: (path) =>
      expecting<undefined, undefined>(
        (done) => client.create(path, NOTHING, acl, (error) => done(error)),
        new Map([[CODE.nodeExists, undefined]]),
      ),

    overwrite: (path, { text, version }) =>
      expecting<"written", "conflict">(
        (done) => client.setData(path, bytesOf(text), version, (error) => done(error, "written")),
        new Map([
          [CODE.badVersion, "conflict"],
          [CODE.noNode, "conflict"],
        ]),
      ),

    remove: (path, version) =>
      expecting<undefined, undefined>(
        (done) => client.remove(path, version, (error) => done(error)),
        new Map([
          [CODE.badVersion, undefined],
          [CODE.noNode, undefined],
        ]),
      ),

    children: (path) =>
      expecting<readonly string[], readonly string[]>(
        (done) => client.getChildren(path, (error, names) => done(error, names)),
        new Map([[CODE.noNode, []]]),
      ),

    acl: (path) =>
      expecting<readonly unknown[], readonly unknown[]>(
        (done) => client.getACL(path, (error, list) => done(error, list)),
        new Map([[CODE.noNode, []]]),
      ),

    multi(steps) {
      const transaction = client.transaction();
      for (const step of steps) {
        switch (step.do) {
          case "check":
            transaction.check(step.path, ANY);
            break;
          case "remove":
            transaction.remove(step.path, ANY);
            break;
          case "create":
            transaction.create(step.path, bytesOf(step.text), acl);
            break;
          case "set":
            transaction.setData(step.path, bytesOf(step.text), step.version ?? ANY);
            break;
        }
      }
      return call<MultiReply>((done) =>
        transaction.commit((error, results) => {
          if (error === null || error === undefined) done(undefined, "done");
          else if (results === undefined) done(error);
          else done(undefined, { failedAt: failedAt(results), code: codeOf(error) });
        }),
      ).then(
        (reply) => {
          if (reply === "done" || EXPECTED_IN_MULTI.has(reply.code)) return reply;
          throw faultOf(name, { code: reply.code, message: `error ${reply.code}` }, link.lastError);
        },
        (error: unknown) => {
          throw faultOf(name, error, link.lastError);
        },
      );
    },
  };
}

function watchOn(
  link: Link,
  path: string,
): { readonly fire: () => void; readonly listeners: Set<() => void> } {
  const listeners = new Set<() => void>();
  const watch = {
    listeners,
    fire(): void {
      link.watches.delete(path);
      for (const listener of listeners) listener();
      listeners.clear();
    },
  };
  link.watches.set(path, watch);
  return watch;
}

const NOTHING = Buffer.alloc(0);
const ANY = -1;
const EXPECTED_IN_MULTI: ReadonlySet<number | undefined> = new Set([
  CODE.noNode,
  CODE.nodeExists,
  CODE.badVersion,
]);

/** The first step of a multi that says why it failed. */
function failedAt(results: readonly unknown[]): number {
  return results.findIndex((each) => {
    const err: unknown = Reflect.get(Object(each), "err");
    return typeof err === "number" && err !== 0;
  });
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text, "utf8");
}
