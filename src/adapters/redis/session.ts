/** A Redis backend in use by one locker: runs the scripts, knows the mark, and says what replies mean. */
import { randomBytes } from "node:crypto";
import type {
  AcquireReply,
  AcquireRequest,
  BackendIdentity,
  BackendSession,
  Deployment,
  Examination,
  ExtendReply,
  ExtendRequest,
  KeyRecord,
  ListPage,
  ListRequest,
  Quarantined,
  RaiseReply,
  RaiseRequest,
  ReleaseReply,
  StatusReply,
} from "../../backend.js";
import { BackendError, markMismatch, noQuarantine, show, type BackendErrorCode } from "../../errors.js";
import type { RedisLike } from "./client.js";
import { connect, type Connection } from "./connection.js";
import { examination } from "./examination.js";
import { faultOf } from "./faults.js";
import { listKeys } from "./list-keys.js";
import {
  ACQUIRE,
  BOOTSTRAP,
  EXAMINE,
  EXTEND,
  FORCE_RELEASE,
  INSPECT,
  JOIN,
  LIFT,
  QUARANTINE,
  RAISE,
  REGISTER,
  RELEASE,
  type Script,
} from "./scripts.js";

/** What a session needs of its backend. */
export interface SessionOptions {
  readonly name: string;
  readonly prefix: string;
  readonly durable: boolean;
  readonly deployment: Deployment;
}

/** What a connection knows of its server. */
interface Known {
  /** {@link Connection.epoch} of the connection on which it was learnt. */
  readonly epoch: number;
  readonly mark: string;
  /** By the server's clock, in ms; "0" for none. */
  readonly quarantinedUntil: string;
  readonly joined: boolean;
  readonly identity: BackendIdentity;
  /** The server's clock in ms when it was learnt. */
  readonly serverMs: number;
}

/** A script run for one key. */
interface Operation<T> {
  readonly script: Script;
  readonly key: string;
  /** What follows the mark. */
  readonly args: (server: Known) => readonly string[];
  readonly parse: (reply: string, server: Known) => T;
}

/**
 * A server that was made a replica and a master again has the data of another one, but its process, its connections and
 * perhaps even the mark are the same; only INFO tells. So it is asked every now and then, in front of an operation.
 */
const RELEARN_AFTER_MS = 1_000;

/** What the first letter of an incarnation says of the clients that wrote it. */
const MEMORIES: ReadonlyMap<string, string> = new Map([
  ["v", "volatile"],
  ["d", "durable: true"],
  ["o", 'restartGuard: "off"'],
]);

/** Faults after which a server may not be what it was, though its connection is. */
const LOOK_AGAIN_AFTER: ReadonlySet<BackendErrorCode> = new Set(["BACKEND_READONLY", "BACKEND_LOADING"]);

/** How often an operation is repeated when the mark changes under it, which happens when clients start together. */
const MARK_TRIES = 4;

/** Opens a session on the client's connection. */
export function openSession(client: RedisLike, options: SessionOptions): BackendSession {
  const { name, prefix, deployment } = options;
  const connection: Connection = connect(client);
  const markKey = `${prefix}:mark`;
  const retention = String(deployment.tokenRetentionMs);
  const skewMicros = String(Math.round(deployment.clockSkewMs * 1000));
  /** Lock and counter, and the mark where there is one. */
  const keyCount = client.isCluster ? 2 : 3;
  const guard = deployment.restartGuard === "off" ? "off" : options.durable ? "durable" : "volatile";
  let known: Known | undefined;
  let learning: { readonly epoch: number; readonly promise: Promise<Known> } | undefined;
  let relearnAt = 0;
  let closed = false;

  const fault = (error: unknown): BackendError => {
    const typed = error instanceof BackendError ? error : faultOf(name, error, connection.lastError());
    if (LOOK_AGAIN_AFTER.has(typed.code)) known = undefined;
    return typed;
  };

  function run(script: Script, keys: number, args: readonly string[]): Promise<unknown> {
    return connection.client.evalsha(script.sha, keys, ...args).catch((error: unknown) => {
      if (!isNoScript(error)) throw fault(error);
      return connection.client.eval(script.lua, keys, ...args).catch((second: unknown) => {
        throw fault(second);
      });
    });
  }

  /** What waited meanwhile must not be sent behind the release that gave it up. */
  function refuseClosed(): void {
    if (closed) throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
  }

  /** Asks the server behind the connection of now for its mark. */
  async function learn(): Promise<Known> {
    refuseClosed();
    await connection.ready(name);
    const epoch = connection.epoch();
    if (learning?.epoch !== epoch) {
      const promise = (client.isCluster ? askCluster(epoch) : register(epoch)).finally(() => {
        learning = undefined;
      });
      learning = { epoch, promise };
    }
    return learning.promise;
  }

  async function register(epoch: number): Promise<Known> {
    const reply = await run(REGISTER, 1, [
      markKey,
      guard,
      String(deployment.backends),
      String(deployment.quorum),
      String(deployment.maxTtlMs),
      String(deployment.quarantineMs),
      randomBytes(16).toString("hex"),
    ]).catch((error: unknown) => {
      throw markUnreadable(name, fault(error));
    });
    const [mark, runId, serverMs] = texts(reply);
    if (mark === "blind") {
      throw markUnreadable(name, "INFO says neither run_id nor master_replid");
    }
    if (mark === "old") {
      const what = "its server is too old: Redis 7 or Valkey 8 is needed";
      throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
    }
    const parts = mark?.split(" ") ?? [];
    const [format, incarnation, backends, quorum, maxTtlMs, joined, quarantinedUntil] = parts;
    if (
      format !== "ql1" ||
      incarnation === undefined ||
      quarantinedUntil === undefined ||
      parts.length !== 7
    ) {
      const what = `its mark ${show(markKey)} has another format: ${show(mark)}`;
      throw new BackendError("BACKEND_MARK_MISMATCH", { backend: name, what });
    }
    const marked = { backends: Number(backends), quorum: Number(quorum), maxTtlMs: Number(maxTtlMs) };
    if (
      !incarnation.startsWith(`${guard[0]}.`) ||
      marked.backends !== deployment.backends ||
      marked.quorum !== deployment.quorum ||
      marked.maxTtlMs !== deployment.maxTtlMs
    ) {
      const memory = MEMORIES.get(incarnation.charAt(0)) ?? "another kind of memory";
      const ours = { ...deployment, memory: MEMORIES.get(guard.charAt(0)) };
      throw markMismatch({ backend: name, mark: `the key ${markKey}` }, { ...marked, memory }, ours);
    }
    return remember({
      epoch,
      mark: mark ?? "",
      quarantinedUntil,
      joined: joined === "1",
      identity: { serverId: runId || incarnation, incarnation },
      serverMs: Number(serverMs),
    });
  }

  /** A Cluster has no mark; the master of the first slot names it. */
  async function askCluster(epoch: number): Promise<Known> {
    const slots = await connection.client.call("CLUSTER", "SLOTS").catch((error: unknown) => {
      throw fault(error);
    });
    const serverId = `cluster ${firstMaster(slots)}`;
    const identity = { serverId, incarnation: serverId };
    return remember({ epoch, mark: "", quarantinedUntil: "0", joined: true, identity, serverMs: 0 });
  }

  function remember(learnt: Known): Known {
    const same =
      known?.identity.serverId === learnt.identity.serverId &&
      known.identity.incarnation === learnt.identity.incarnation;
    // The same object while nothing changed, which the locker compares at every answer.
    known = same && known !== undefined ? { ...learnt, identity: known.identity } : learnt;
    relearnAt = performance.now() + RELEARN_AFTER_MS;
    return known;
  }

  /** What is known of the server behind the connection of now, without asking it. */
  function fresh(): Known | undefined {
    return known !== undefined && known.epoch === connection.epoch() && connection.isReady()
      ? known
      : undefined;
  }

  /**
   * Runs a script that compares the mark. One promise deep while all is well; everything else (no connection yet,
   * another mark, no script there) takes the long way.
   */
  function marked<T>(operation: Operation<T>): Promise<T> {
    const server = fresh();
    if (server === undefined) return markedSlowly(operation);
    if (performance.now() > relearnAt) relearn(server);
    const { script, parse } = operation;
    const args = argumentsOf(operation, server);
    const settle = (reply: unknown): T | Promise<T> => {
      const text = String(reply);
      if (text !== "m") return parse(text, server);
      if (known === server) known = undefined;
      return markedSlowly(operation);
    };
    return connection.client.evalsha(script.sha, keyCount, ...args).then(settle, (error: unknown) => {
      if (!isNoScript(error)) throw fault(error);
      refuseClosed();
      return connection.client.eval(script.lua, keyCount, ...args).then(settle, (second: unknown) => {
        throw fault(second);
      });
    });
  }

  /**
   * Has the server look at itself, ahead of the next operation on the same connection: if its memory is new, the mark
   * is another one by then, and the operation does not act.
   */
  function relearn({ epoch }: Known): void {
    relearnAt = performance.now() + RELEARN_AFTER_MS;
    if (guard !== "volatile") return;
    register(epoch).catch(() => {
      known = undefined;
    });
  }

  /** Learns the mark anew and repeats while it is another one. */
  async function markedSlowly<T>(operation: Operation<T>): Promise<T> {
    for (let tries = 1; tries <= MARK_TRIES; tries++) {
      const server = fresh() ?? (await learn());
      refuseClosed();
      const reply = String(await run(operation.script, keyCount, argumentsOf(operation, server)));
      if (reply !== "m") return operation.parse(reply, server);
      if (known === server) known = undefined;
    }
    throw markUnreadable(name, "it changed again and again");
  }

  function argumentsOf<T>(operation: Operation<T>, server: Known): string[] {
    const [lock, counter] = keysOf(operation.key);
    const args = operation.args(server);
    return client.isCluster
      ? [lock, counter, server.mark, ...args]
      : [lock, counter, markKey, server.mark, ...args];
  }

  function keysOf(key: string): readonly [string, string] {
    return [`{${prefix}:${key}}:l`, `{${prefix}:${key}}:f`];
  }

  /** Runs a script that needs no mark, on whatever server is behind the connection. */
  function unmarked(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const all = [...keys, ...args];
    if (connection.isReady()) return run(script, keys.length, all);
    return connection.ready(name).then(() => run(script, keys.length, all));
  }

  async function onMark(script: Script, incarnation: string): Promise<void> {
    if (client.isCluster) return;
    await unmarked(script, [markKey], [incarnation]);
    known = undefined;
  }

  /** Runs a command on whatever server is behind the connection. */
  async function command(name: string, ...args: string[]): Promise<unknown> {
    await connection.ready(options.name);
    return connection.client.call(name, ...args).catch((error: unknown) => {
      throw fault(error);
    });
  }

  async function status(): Promise<StatusReply> {
    known = undefined;
    const server = await learn();
    const remainingMs = Number(server.quarantinedUntil) - server.serverMs;
    return remainingMs > 0
      ? quarantined(server, remainingMs)
      : { kind: "in-service", identity: server.identity };
  }

  return {
    acquire(request: AcquireRequest): Promise<AcquireReply> {
      return marked({
        script: ACQUIRE,
        key: request.key,
        args: ({ quarantinedUntil }) => [
          quarantinedUntil,
          request.owner,
          String(request.ttlMs),
          request.proposal.toString(),
          retention,
          skewMicros,
        ],
        parse(reply, server): AcquireReply {
          const rest = reply.slice(1);
          const { identity } = server;
          switch (reply[0]) {
            case "g":
              return { kind: "granted", fence: BigInt(rest), identity };
            case "h": {
              const remaining = Number(rest);
              return { kind: "held", remainingMs: remaining < 0 ? undefined : remaining, identity };
            }
            case "q":
              return quarantined(server, Number(rest));
            default:
              throw badReply(name, request.key, reply);
          }
        },
      });
    },

    raise(request: RaiseRequest): Promise<RaiseReply> {
      return marked({
        script: RAISE,
        key: request.key,
        args: () => [`${request.owner}|${request.fence}`, request.token.toString(), retention],
        parse(reply): RaiseReply {
          if (reply === "r") return "raised";
          if (reply === "n") return "refused";
          throw badReply(name, request.key, reply);
        },
      });
    },

    extend(request: ExtendRequest): Promise<ExtendReply> {
      return marked({
        script: EXTEND,
        key: request.key,
        args: ({ quarantinedUntil }) => [
          quarantinedUntil,
          request.owner,
          String(request.ttlMs),
          request.token.toString(),
          retention,
          request.mayHeal ? "1" : "0",
        ],
        parse(reply, server): ExtendReply {
          const { identity } = server;
          switch (reply[0]) {
            case "e":
              return { kind: "extended", identity };
            case "c":
              return { kind: "recreated", identity };
            case "n":
              return { kind: "not-owner", identity };
            case "q":
              return quarantined(server, Number(reply.slice(1)));
            default:
              throw badReply(name, request.key, reply);
          }
        },
      });
    },

    release(key: string, owner: string): Promise<ReleaseReply> {
      return unmarked(RELEASE, keysOf(key), [owner, retention]).then((reply) =>
        String(reply) === "1" ? "released" : "not-owner",
      );
    },

    async forceRelease(key: string): Promise<boolean> {
      const reply = String(await unmarked(FORCE_RELEASE, keysOf(key), [retention]));
      if (reply !== "0" && reply !== "1") throw badReply(name, key, reply);
      return reply === "1";
    },

    async inspect(key: string): Promise<KeyRecord> {
      const [lock, remaining, counter] = texts(await unmarked(INSPECT, keysOf(key), []));
      if (counter !== undefined && !/^\d+$/.test(counter)) throw counterBroken(name, key, counter);
      const found = BigInt(counter ?? 0);
      if (lock === undefined) return { lock: undefined, counter: found };
      const [, owner, fence] = /^(.*)\|(\d+)$/s.exec(lock) ?? [];
      if (owner === undefined || fence === undefined) throw noLock(name, key);
      return { lock: { owner, fence: BigInt(fence), remainingMs: Number(remaining) }, counter: found };
    },

    async list(request: ListRequest): Promise<ListPage> {
      if (client.isCluster) {
        const what = "the keys of a Redis Cluster cannot be listed: they lie on many masters, and slots move";
        throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
      }
      const keyPrefix: unknown = Reflect.get(client.options, "keyPrefix");
      const stored = { prefix, keyPrefix: typeof keyPrefix === "string" ? keyPrefix : "" };
      return listKeys(command, stored, request);
    },

    async lift(key: string, token: bigint): Promise<bigint> {
      const reply = String(await unmarked(LIFT, keysOf(key), [token.toString(), retention]));
      if (!/^\d+$/.test(reply)) throw badReply(name, key, reply);
      return BigInt(reply);
    },

    status,

    bootstrap: (incarnation: string) => onMark(BOOTSTRAP, incarnation),

    join: (incarnation: string) => onMark(JOIN, incarnation),

    async quarantine(): Promise<Quarantined> {
      if (guard === "off") throw noQuarantine(name);
      if (client.isCluster) {
        const what = "a Redis Cluster has no mark, so that it cannot be quarantined";
        throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
      }
      for (let tries = 1; tries <= MARK_TRIES; tries++) {
        const { mark } = await learn();
        const begun = [mark, randomBytes(16).toString("hex"), String(deployment.quarantineMs)];
        if ((await unmarked(QUARANTINE, [markKey], begun)) !== "ok") continue;
        const after = await status();
        if (after.kind === "quarantined") return after;
      }
      throw markUnreadable(name, "it changed again and again");
    },

    async examine(): Promise<Examination> {
      const [serverMs, info] = texts(await unmarked(EXAMINE, [], []));
      const fsync = await command("CONFIG", "GET", "appendfsync").catch(() => undefined);
      return examination({
        info: info ?? "",
        serverMs: Number(serverMs),
        appendfsync: setting(fsync),
        durable: options.durable,
      });
    },

    async close(): Promise<void> {
      if (closed) return;
      closed = true;
      connection.leave();
    },
  };
}

function quarantined(server: Known, remainingMs: number): Quarantined {
  return { kind: "quarantined", remainingMs, joined: server.joined, identity: server.identity };
}

function markUnreadable(backend: string, cause: BackendError | string): BackendError {
  if (typeof cause === "string" || cause.code === "BACKEND_NO_PERMISSION") {
    const what =
      `whether it lost its memory cannot be told, since its mark or INFO cannot be read ` +
      `(${typeof cause === "string" ? cause : cause.message}). Allow INFO and the mark to its user, or say durable: true ` +
      `or restartGuard: "off" if it never forgets`;
    return new BackendError("BACKEND_MARK_UNREADABLE", { backend, what }, cause);
  }
  return cause;
}

function counterBroken(backend: string, key: string, counter: string): BackendError {
  const what = `the counter of key ${show(key)} is ${show(counter)}: no number, or it may not count any further`;
  return new BackendError("BACKEND_COUNTER_BROKEN", { backend, what });
}

function noLock(backend: string, key: string): BackendError {
  const what = `something else than a lock is stored under the lock key of ${show(key)}; it is left alone`;
  return new BackendError("BACKEND_WRONG_TYPE", { backend, what });
}

/** Sure not to have been executed: the server was restarted, or its script cache flushed. */
function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOSCRIPT");
}

function badReply(backend: string, key: string, reply: string): BackendError {
  if (reply.startsWith("x")) return counterBroken(backend, key, reply.slice(1));
  if (reply === "w") return noLock(backend, key);
  return new BackendError("BACKEND_REFUSED", { backend, what: `it answered ${show(reply)}` });
}

function texts(reply: unknown): readonly (string | undefined)[] {
  return Array.isArray(reply)
    ? reply.map((each) => (each === null || each === undefined ? undefined : String(each)))
    : [];
}

/** The value of one setting; undefined where CONFIG may not be read. */
function setting(reply: unknown): string | undefined {
  if (Array.isArray(reply)) return texts(reply)[1];
  return undefined;
}

function firstMaster(slots: unknown): string {
  const ranges = (Array.isArray(slots) ? slots : []) as readonly [number, number, readonly unknown[]][];
  const first = ranges.reduce<(typeof ranges)[number] | undefined>(
    (least, range) => (least === undefined || range[0] < least[0] ? range : least),
    undefined,
  );
  const id = first?.[2]?.[2];
  return typeof id === "string" ? id : "unknown";
}
