/** A Redis backend in use by one locker: runs the scripts, and says what replies mean. */
import { randomBytes } from "node:crypto";
import type {
  AcquireReply,
  AcquireRequest,
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
import type { MemoryKind } from "../../engine/mark.js";
import { BackendError, noQuarantine, show } from "../../errors.js";
import { createBatch, type Entry } from "./batch.js";
import { createCaller, texts } from "./call.js";
import type { RedisLike } from "./client.js";
import { accessQuestions } from "./access.js";
import { connect, type Connection } from "./connection.js";
import { examination } from "./examination.js";
import { createInbox } from "./inbox.js";
import { listKeys } from "./list-keys.js";
import {
  ACQUIRE,
  BOOTSTRAP,
  EXAMINE,
  EXTEND,
  FORCE_RELEASE,
  INSPECT,
  JOIN,
  LEAVE,
  LIFT,
  QUARANTINE,
  RAISE,
  RELEASE,
  type Script,
} from "./scripts.js";
import { createServerMark, markUnreadable, mayHaveChanged, type Known } from "./server-mark.js";

/** What a session needs of its backend. */
export interface SessionOptions {
  readonly name: string;
  readonly prefix: string;
  readonly durable: boolean;
  readonly deployment: Deployment;
}

/** A step to one key that compares the mark. */
interface Marked<T> {
  readonly kind: Exclude<Entry["kind"], "release">;
  readonly key: string;
  readonly args: readonly string[];
  readonly parse: (reply: string, server: Known) => T;
}

/** What runs one that travels alone. */
const SCRIPTS: Readonly<Record<Marked<unknown>["kind"], Script>> = {
  acquire: ACQUIRE,
  wait: ACQUIRE,
  raise: RAISE,
  extend: EXTEND,
};

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
  const keyPrefix: unknown = Reflect.get(client.options, "keyPrefix");
  const stored = { prefix, keyPrefix: typeof keyPrefix === "string" ? keyPrefix : "" };
  const memory: MemoryKind =
    deployment.restartGuard === "off" ? "off" : options.durable ? "durable" : "volatile";
  let closed = false;
  const call = createCaller(connection, name, {
    // What was asked for before must arrive before.
    sending: () => batch.flush(),
    fault: (fault) => {
      if (mayHaveChanged(fault)) mark.forget();
    },
  });
  const { isCluster } = client;
  const mark = createServerMark(connection, call, { name, markKey, memory, deployment, isCluster });
  const header = ({ mark: text, quarantinedUntil }: Known): readonly string[] => [
    text,
    quarantinedUntil,
    retention,
    skewMicros,
  ];
  // A Cluster would send every call to all of its servers.
  const inbox = isCluster ? undefined : createInbox(client, prefix);
  const batch = createBatch({ call, mark, markKey, header });

  /** What waited meanwhile must not be sent behind the release that gave it up. */
  function refuseClosed(): void {
    if (closed) throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
  }

  /** A step to one key, with whatever else is asked for in this turn; `alone` is how it goes by itself. */
  function together<T>(
    what: { readonly kind: Entry["kind"]; readonly key: string; readonly args: readonly string[] },
    parse: (reply: string, known: Known) => T,
    alone: () => Promise<T>,
  ): Promise<T> {
    // In a Cluster the keys of two operations lie in different slots.
    if (isCluster) return alone();
    const [lock, counter] = keysOf(what.key);
    return new Promise((resolve, reject) => {
      const byItself = (): void => void alone().then(resolve, reject);
      batch.add({
        kind: what.kind,
        lock,
        counter,
        args: what.args,
        alone: byItself,
        settle(answer, known) {
          if (answer === OTHER_MARK) {
            mark.forget(known);
            byItself();
            return;
          }
          try {
            resolve(parse(answer, known));
          } catch (error) {
            reject(error as BackendError);
          }
        },
        fail: reject,
      });
    });
  }

  function marked<T>(operation: Marked<T>): Promise<T> {
    return together(operation, operation.parse, () => markedAlone(operation));
  }

  /** With the mark as it is known, or as the server says that it is now. */
  async function markedAlone<T>({ kind, key, args, parse }: Marked<T>): Promise<T> {
    for (let tries = 1; tries <= MARK_TRIES; tries++) {
      refuseClosed();
      const known = mark.fresh();
      if (known !== undefined) mark.relearnWhenDue(known);
      const server = known ?? (await mark.learn());
      refuseClosed();
      const keys = isCluster ? keysOf(key) : [...keysOf(key), markKey];
      const reply = String(await call.run(SCRIPTS[kind], keyCount, [...keys, ...header(server), ...args]));
      if (reply !== OTHER_MARK) return parse(reply, server);
      mark.forget(server);
    }
    throw markUnreadable(name, "it changed again and again");
  }

  function keysOf(key: string): readonly [lock: string, counter: string] {
    return [`{${prefix}:${key}}:l`, `{${prefix}:${key}}:f`];
  }

  async function onMark(script: Script, incarnation: string): Promise<void> {
    if (isCluster) return;
    const { backends, quorum, maxTtlMs } = deployment;
    const figures = [memory.slice(0, 1), String(backends), String(quorum), String(maxTtlMs)];
    const reply = await call.runWhenReady(script, [markKey], [incarnation, ...figures]);
    mark.forget();
    // Says which figures differ.
    if (reply === "m") await mark.learn();
  }

  async function status(): Promise<StatusReply> {
    refuseClosed();
    mark.forget();
    const server = await mark.learn();
    const remainingMs = Number(server.quarantinedUntil) - server.serverMs;
    return remainingMs > 0
      ? quarantined(server, remainingMs)
      : { kind: "in-service", identity: server.identity };
  }

  return {
    acquire({ key, owner, ttlMs, proposal, ticket }: AcquireRequest): Promise<AcquireReply> {
      const args = [owner, String(ttlMs), proposal.toString()];
      const inLine =
        ticket === undefined || inbox === undefined
          ? undefined
          : [inbox.address(ticket.id), ticket.since.toString(), String(Math.ceil(ticket.waitsMs))];
      return marked({
        kind: inLine === undefined ? "acquire" : "wait",
        key,
        args: inLine === undefined ? args : [...args, ...inLine],
        parse(reply, server): AcquireReply {
          const rest = reply.slice(1);
          const { identity } = server;
          switch (reply[0]) {
            case "g":
              return { kind: "granted", fence: BigInt(rest), identity };
            case "h":
            case "k": {
              const remainingMs = Number(rest) < 0 ? undefined : Number(rest);
              if (reply[0] === "h") return { kind: "held", remainingMs, identity };
              return { kind: "held", remainingMs, reserved: true, identity };
            }
            case "q":
              return quarantined(server, Number(rest));
            default:
              throw badReply(name, key, reply);
          }
        },
      });
    },

    raise({ key, owner, fence, token }: RaiseRequest): Promise<RaiseReply> {
      return marked({
        kind: "raise",
        key,
        args: [`${owner}|${fence}`, token.toString()],
        parse(reply): RaiseReply {
          if (reply === "r") return "raised";
          if (reply === "n") return "refused";
          throw badReply(name, key, reply);
        },
      });
    },

    extend({ key, owner, ttlMs, token, mayHeal }: ExtendRequest): Promise<ExtendReply> {
      return marked({
        kind: "extend",
        key,
        args: [owner, String(ttlMs), token.toString(), mayHeal ? "1" : "0"],
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
              throw badReply(name, key, reply);
          }
        },
      });
    },

    release(key: string, owner: string): Promise<ReleaseReply> {
      const parse = (reply: unknown): ReleaseReply => (reply === "d" ? "released" : "not-owner");
      return together({ kind: "release", key, args: [owner] }, parse, () =>
        call.runWhenReady(RELEASE, keysOf(key), [owner, retention]).then(parse),
      );
    },

    async forceRelease(key: string): Promise<boolean> {
      const reply = String(await call.runWhenReady(FORCE_RELEASE, keysOf(key), [retention]));
      if (reply !== "0" && reply !== "1") throw badReply(name, key, reply);
      return reply === "1";
    },

    async inspect(key: string): Promise<KeyRecord> {
      const [lock, remaining, counter] = texts(await call.runWhenReady(INSPECT, keysOf(key), []));
      if (counter !== undefined && !/^\d+$/.test(counter)) throw counterBroken(name, key, counter);
      const found = BigInt(counter ?? 0);
      if (lock === undefined || isReservation(lock)) return { lock: undefined, counter: found };
      const [, owner, fence] = /^(.*)\|(\d+)$/s.exec(lock) ?? [];
      if (owner === undefined || fence === undefined) throw noLock(name, key);
      return { lock: { owner, fence: BigInt(fence), remainingMs: Number(remaining) }, counter: found };
    },

    async list(request: ListRequest): Promise<ListPage> {
      if (isCluster) {
        const what = "the keys of a Redis Cluster cannot be listed: they lie on many masters, and slots move";
        throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
      }
      return listKeys(call.command, stored, request);
    },

    async lift(key: string, token: bigint): Promise<bigint> {
      const reply = String(await call.runWhenReady(LIFT, keysOf(key), [token.toString(), retention]));
      if (!/^\d+$/.test(reply)) throw badReply(name, key, reply);
      return BigInt(reply);
    },

    status,

    bootstrap: (incarnation: string) => onMark(BOOTSTRAP, incarnation),

    join: (incarnation: string) => onMark(JOIN, incarnation),

    async quarantine(): Promise<Quarantined> {
      if (memory === "off") throw noQuarantine(name);
      for (let tries = 1; tries <= MARK_TRIES; tries++) {
        const { mark: text } = await mark.learn();
        const begun = [text, randomBytes(16).toString("hex"), String(deployment.quarantineMs)];
        if ((await call.runWhenReady(QUARANTINE, [markKey], begun)) !== "ok") continue;
        const after = await status();
        if (after.kind === "quarantined") return after;
      }
      throw markUnreadable(name, "it changed again and again");
    },

    async examine(): Promise<Examination> {
      const asked = accessQuestions(stored);
      const [serverMs, info = "", mark, rights = ""] = texts(
        await call.runWhenReady(EXAMINE, [markKey], asked),
      );
      // Where CONFIG or ACL may not be asked, nothing is known of it.
      const [fsync, whoAmI] = await Promise.all([
        call.command("CONFIG", "GET", "appendfsync").catch(() => []),
        call.command("ACL", "WHOAMI").catch(() => undefined),
      ]);
      const configured: unknown = Reflect.get(client.options, "username");
      return examination({
        info,
        serverMs: Number(serverMs),
        // A Cluster has none, used or not.
        mark: client.isCluster ? "" : mark,
        stored,
        user: [whoAmI, configured].find((name) => typeof name === "string") ?? "default",
        rights,
        appendfsync: texts(fsync)[1],
        durable: options.durable,
      });
    },

    ...(inbox === undefined
      ? {}
      : {
          watch: inbox.watch,
          async leave(key: string, ticket: string): Promise<void> {
            const [lock] = keysOf(key);
            await call.runWhenReady(LEAVE, [lock], [inbox.address(ticket)]);
          },
        }),

    async close(): Promise<void> {
      if (closed) return;
      batch.flush();
      closed = true;
      inbox?.close();
      connection.leave();
    },
  };
}

/** Whether what lies in the place of a lock only keeps it for the next in line; see scripts.ts. */
function isReservation(lock: string): boolean {
  return lock.startsWith("r|");
}

/** What a script answers that was called under another mark than the server has. */
const OTHER_MARK = "m";

function quarantined(server: Known, remainingMs: number): Quarantined {
  return { kind: "quarantined", remainingMs, joined: server.joined, identity: server.identity };
}

function counterBroken(backend: string, key: string, counter: string): BackendError {
  const what = `the counter of key ${show(key)} is ${show(counter)}: no number, or it may not count any further`;
  return new BackendError("BACKEND_COUNTER_BROKEN", { backend, what });
}

function noLock(backend: string, key: string): BackendError {
  const what = `something else than a lock is stored under the lock key of ${show(key)}; it is left alone`;
  return new BackendError("BACKEND_WRONG_TYPE", { backend, what });
}

function badReply(backend: string, key: string, reply: string): BackendError {
  if (reply.startsWith("x")) return counterBroken(backend, key, reply.slice(1));
  if (reply === "w") return noLock(backend, key);
  return new BackendError("BACKEND_REFUSED", { backend, what: `it answered ${show(reply)}` });
}
