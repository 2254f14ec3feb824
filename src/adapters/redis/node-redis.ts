/**
 * A node-redis client (`redis` 5 or 6 on npm) as the client that the adapter speaks to. Every connection is a duplicate of
 * its own, made anew when it broke: the two versions differ in what they do about a broken one, and neither gives up one
 * that owes an answer.
 */
import { EventEmitter } from "node:events";
import { InvalidOptionError } from "../../errors.js";
import type { RedisLike } from "./client.js";
import { OFFLINE } from "./faults.js";

/** The part of a node-redis client that the adapter uses. Structural, so that no client is imported. */
export interface NodeRedisLike {
  readonly options?: object | undefined;
  sendCommand(args: readonly string[]): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>;
  connect(): Promise<unknown>;
  destroy(): void;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a client has its own type for these
  duplicate(overrides?: any): NodeRedisLike;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  on(event: string, listener: (...args: any[]) => void): unknown;
}

/** How long a host may take to accept a connection, in milliseconds. */
const CONNECT_TIMEOUT_MS = 2_000;
/** How long a connection may owe an answer before it is replaced, in milliseconds. */
const SOCKET_TIMEOUT_MS = 1_000;
/** How long answers are waited for when the connection is given up by us, in milliseconds. */
const DISCONNECT_TIMEOUT_MS = 200;
const RECONNECT_MS_STEP = 50;
const RECONNECT_MS_MAX = 500;

/** Kept by client, since the lockers of a process share one connection of each. */
const wrapped = new WeakMap<NodeRedisLike, RedisLike>();

/** Whether it is one, or something else of the same package. */
export function isNodeRedis(client: object): client is NodeRedisLike {
  return (
    "sendCommand" in client && ("duplicate" in client || "totalClients" in client) && !("evalsha" in client)
  );
}

/** The same object for the same client. Throws `INVALID_OPTION` for what is no client of a single server. */
export function fromNodeRedis(client: NodeRedisLike): RedisLike {
  const known = wrapped.get(client);
  if (known !== undefined) return known;
  refuseOthers(client);
  const made = nodeRedis(client);
  wrapped.set(client, made);
  return made;
}

/** A Cluster, a Sentinel and a pool have the same methods with other parameters. */
function refuseOthers(client: NodeRedisLike): void {
  const kind =
    "slots" in client || "masters" in client
      ? "createCluster()"
      : "getMasterNode" in client
        ? "createSentinel()"
        : "totalClients" in client
          ? "createClientPool()"
          : undefined;
  if (kind === undefined) return;
  const rule = `a client of one server, made by createClient(): one of ${kind} is not supported (for Sentinel and Cluster pass ioredis clients, or better independent servers)`;
  throw new InvalidOptionError("redis(client)", rule, kind);
}

/** One connection at a time, and how far it is. */
interface Link {
  readonly client: NodeRedisLike;
  /** Has a socket, so that it can be destroyed: before, node-redis would forget the socket that is being made. */
  hasSocket: boolean;
  /** Why it is over; undefined while it is not. */
  broken: Error | undefined;
  inFlight: number;
  heardAt: number;
  watch: NodeJS.Timeout | undefined;
}

function nodeRedis(user: NodeRedisLike): RedisLike {
  const events = new EventEmitter();
  const { keyPrefix } = settingsOf(user);
  let status = "wait";
  let link: Link | undefined;
  let attempts = 0;
  let retry: NodeJS.Timeout | undefined;

  function open(): void {
    status = "connecting";
    const made: Link = {
      client: user.duplicate(overrides(user)),
      hasSocket: false,
      broken: undefined,
      inFlight: 0,
      heardAt: 0,
      watch: undefined,
    };
    link = made;
    const { client } = made;
    // Stays: a client without a listener for errors ends the process.
    client.on("error", (error: unknown) => lose(made, asReply(error)));
    client.on("connect", () => {
      made.hasSocket = true;
      if (made.broken === undefined) expect(made);
      else destroy(made);
    });
    client.on("ready", () => {
      answered(made);
      if (made.broken !== undefined || status === "end") return;
      attempts = 0;
      status = "ready";
      events.emit("ready");
    });
    // Errors are events, too.
    client.connect().catch((error: unknown) => lose(made, asReply(error)));
  }

  /** Whatever happened, this connection is no more. */
  function lose(lost: Link, reason: Error): void {
    if (lost.broken !== undefined) return;
    end(lost, reason);
    if (link !== lost || status === "end") return;
    link = undefined;
    status = "close";
    retry = setTimeout(open, Math.min(RECONNECT_MS_STEP * ++attempts, RECONNECT_MS_MAX));
    events.emit("error", reason);
    events.emit("close");
  }

  async function send<T>(ask: (client: NodeRedisLike) => Promise<T>): Promise<T> {
    const used = link;
    if (used === undefined || status !== "ready") throw offline();
    expect(used);
    try {
      return await ask(used.client);
    } catch (error) {
      if (used.broken !== undefined) throw used.broken;
      const reply = asReply(error);
      // A master that was demoted answers so until the connection is made anew, perhaps to the new one.
      if (reply.message.startsWith("READONLY")) setImmediate(() => lose(used, reply));
      throw reply;
    } finally {
      answered(used);
    }
  }

  /** Something was asked: the answer has a bound. */
  function expect(asked: Link): void {
    if (asked.inFlight++ === 0) asked.heardAt = performance.now();
    asked.watch ??= setTimeout(() => look(asked, false), SOCKET_TIMEOUT_MS);
  }

  function answered(by: Link): void {
    by.inFlight--;
    by.heardAt = performance.now();
    if (status === "end" && by.inFlight === 0) end(by, new Error(CLOSED));
  }

  function look(at: Link, again: boolean): void {
    at.watch = undefined;
    if (at.broken !== undefined || at.inFlight === 0) return;
    const leftMs = at.heardAt + SOCKET_TIMEOUT_MS - performance.now();
    if (leftMs > 0) at.watch = setTimeout(() => look(at, false), Math.ceil(leftMs));
    // After a stall of this process an answer may lie in the socket, unread.
    else if (!again) setImmediate(() => look(at, true));
    else {
      const text = `Socket timeout. Expecting data, but didn't receive any in ${SOCKET_TIMEOUT_MS}ms.`;
      lose(at, new Error(text));
    }
  }

  return {
    get status() {
      return status;
    },
    options: settingsOf(user),
    isCluster: false,
    evalsha: (sha, keys, ...args) =>
      send((client) => client.sendCommand(["EVALSHA", sha, ...withPrefix(keyPrefix, keys, args)])),
    eval: (lua, keys, ...args) =>
      send((client) => client.sendCommand(["EVAL", lua, ...withPrefix(keyPrefix, keys, args)])),
    call: (command, ...args) => send((client) => client.sendCommand([command, ...args])),
    subscribe: (channel) =>
      send((client) => client.subscribe(channel, (message) => events.emit("message", channel, message))),
    async connect() {
      if (status === "wait") open();
    },
    disconnect() {
      if (status === "end") return;
      const last = link;
      const mayOwe = status === "ready" && last !== undefined && last.inFlight > 0;
      status = "end";
      link = undefined;
      clearTimeout(retry);
      // What was sent in this turn is on its way only after it.
      if (mayOwe) setTimeout(() => end(last, new Error(CLOSED)), DISCONNECT_TIMEOUT_MS);
      else if (last !== undefined) end(last, new Error(CLOSED));
      events.emit("end");
    },
    duplicate: () => nodeRedis(user),
    on: (event, listener) => events.on(event, listener),
    off: (event, listener) => events.off(event, listener),
  };
}

/** Typed by the adapter, as all that a client rejects with. */
function offline(): Error {
  return new Error(OFFLINE);
}

const CLOSED = "Connection is closed.";

function end(link: Link, reason: Error): void {
  if (link.broken !== undefined) return;
  link.broken = reason;
  clearTimeout(link.watch);
  link.watch = undefined;
  if (link.hasSocket) destroy(link);
}

function destroy({ client }: Link): void {
  try {
    client.destroy();
  } catch {
    // Version 5 throws when it is closed already.
  }
}

/**
 * What the duplicate has of its own. One connection: who waits for what is decided here, and nothing is queued, sent twice
 * or answered from a cache. Version 2 of the protocol, since both versions of node-redis speak it by default or on demand
 * and its replies have one form.
 */
function overrides(user: NodeRedisLike): object {
  const socket: unknown = Reflect.get(user.options ?? {}, "socket");
  return {
    socket: {
      ...(typeof socket === "object" ? socket : {}),
      connectTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: 0,
      reconnectStrategy: false,
    },
    RESP: 2,
    disableOfflineQueue: true,
    commandsQueueMaxLength: undefined,
    // It has a bound for what waits to be sent, with a timer for each command; nothing waits here.
    commandOptions: { timeout: undefined },
    pingInterval: 0,
    disableClientInfo: true,
    clientSideCache: undefined,
    emitInvalidate: false,
    maintNotifications: "disabled",
    readonly: false,
  };
}

/** The settings by the names that ioredis has for them. */
function settingsOf(user: NodeRedisLike): SettingsByIoredis {
  const read = (from: unknown, name: string): unknown =>
    typeof from === "object" && from !== null ? (Reflect.get(from, name) as unknown) : undefined;
  const { options } = user;
  const socket = read(options, "socket");
  const keyPrefix = read(options, "keyPrefix") ?? "";
  if (typeof keyPrefix !== "string") {
    throw new InvalidOptionError("redis(client)", "a client whose keyPrefix is a string", keyPrefix);
  }
  return {
    host: read(socket, "host"),
    port: read(socket, "port"),
    path: read(socket, "path"),
    db: read(options, "database"),
    username: read(options, "username"),
    keyPrefix,
  };
}

interface SettingsByIoredis {
  readonly host: unknown;
  readonly port: unknown;
  readonly path: unknown;
  readonly db: unknown;
  readonly username: unknown;
  readonly keyPrefix: string;
}

/** node-redis prefixes the keys of its own commands, but not of what is sent as it is. */
function withPrefix(keyPrefix: string, keys: number, args: readonly string[]): readonly string[] {
  return [String(keys), ...args.map((arg, i) => (i < keys ? keyPrefix + arg : arg))];
}

/**
 * An error reply under the name that ioredis has for it. In node-redis it is told by its class only, whose name a bundler
 * may change; but it has no code, as errors of Node have, and begins with a word in capitals, as the server's do.
 */
function asReply(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if ("code" in error || !/^[A-Z][A-Z0-9]+( |$)/.test(error.message)) return error;
  const reply = new Error(error.message, { cause: error });
  reply.name = "ReplyError";
  return reply;
}
