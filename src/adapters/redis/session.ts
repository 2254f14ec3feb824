/** A Redis backend in use by one locker: runs the scripts, and says what replies mean. */
import type {
  BackendSession,
  Deployment,
  Examination,
  KeyRecord,
  ListPage,
  ListRequest,
  Quarantined,
  StatusReply,
  Ticket,
} from "../../backend.js";
import { BackendError, noQuarantine } from "../../errors.js";
import { memoryKind, newMemoryId } from "../shared/mark-reader.js";
import { createBatch, OTHER_MARK } from "./batch.js";
import { createCaller, texts } from "./call.js";
import type { RedisLike } from "./client.js";
import { accessQuestions } from "./access.js";
import { connect, type Connection } from "./connection.js";
import { examination } from "./examination.js";
import { createInbox } from "./inbox.js";
import { listKeys } from "./list-keys.js";
import {
  acquireOperation,
  badReply,
  counterBroken,
  counterOf,
  extendOperation,
  lockOf,
  noLock,
  quarantined,
  raiseOperation,
  releaseOperation,
  type Operation,
  type Standing,
} from "./operations.js";
import {
  BOOTSTRAP,
  EXAMINE,
  FORCE_RELEASE,
  INSPECT,
  JOIN,
  LEAVE,
  QUARANTINE,
  scriptsFor,
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

/** How often an operation is repeated when the mark changes under it, which happens when clients start together. */
const MARK_TRIES = 4;

/** Opens a session on the client's connection. */
export function openSession(client: RedisLike, options: SessionOptions): BackendSession {
  const { name, prefix, deployment } = options;
  const connection: Connection = connect(client);
  const markKey = `${prefix}:mark`;
  /** What is in front of every key of a lock. */
  const ahead = `{${prefix}:`;
  const scripts = scriptsFor({
    // From the latest end that a lock may have, so that a release need not prolong it.
    keepMs: deployment.tokenRetentionMs + deployment.maxTtlMs,
    skewMicros: Math.round(deployment.clockSkewMs * 1000),
  });
  const keyPrefix: unknown = Reflect.get(client.options, "keyPrefix");
  const stored = { prefix, keyPrefix: typeof keyPrefix === "string" ? keyPrefix : "" };
  const memory = memoryKind(deployment, options.durable);
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
  // A Cluster would send every call to all of its servers.
  const inbox = isCluster ? undefined : createInbox(client, prefix);
  const batch = createBatch({ backend: name, call, mark, markKey, script: scripts.batch, alone });

  function run<T>(operation: Operation<T>): Promise<T> {
    // In a Cluster the keys of two operations lie in different slots.
    return isCluster || !batch.takes(operation) ? alone(operation) : batch.add(operation);
  }

  function alone<T>(operation: Operation<T>): Promise<T> {
    const { kind } = operation;
    return kind === "release" || kind === "giveBack"
      ? releaseAlone(operation, scripts[kind])
      : underMark(operation, MARK_TRIES);
  }

  function releaseAlone<T>(operation: Operation<T>, script: Script): Promise<T> {
    const release = (): Promise<T> =>
      call.run(script, [operation.lock], operation.args(), (reply) =>
        operation.read(String(reply), NO_MARK, name),
      );
    return connection.isReady() ? release() : connection.ready(name).then(release);
  }

  /** With the mark as it is known, or as the server says that it is now; that may change again and again. */
  function underMark<T>(operation: Operation<T>, triesLeft: number): Promise<T> {
    // What waited meanwhile must not be sent behind the release that gave it up.
    if (closed) return Promise.reject(isClosed());
    const known = mark.fresh();
    if (known === undefined) {
      return mark.learn().then((learnt) => {
        if (closed) throw isClosed();
        return compareAndRun(operation, learnt, triesLeft);
      });
    }
    mark.relearnWhenDue(known);
    return compareAndRun(operation, known, triesLeft);
  }

  function compareAndRun<T>(operation: Operation<T>, known: Known, triesLeft: number): Promise<T> {
    const { kind, lock, counter = "" } = operation;
    const keys = isCluster ? [lock, counter] : [lock, counter, markKey];
    return call.run(
      scripts[kind],
      keys,
      [known.mark, known.quarantinedUntil, ...operation.args()],
      (reply): T | Promise<T> => {
        if (reply !== OTHER_MARK) return operation.read(String(reply), known, name);
        mark.forget(known);
        if (triesLeft > 1) return underMark(operation, triesLeft - 1);
        throw markUnreadable(name, "it changed again and again");
      },
    );
  }

  /** What puts a waiter in line; undefined where there is none, or nobody could be called. */
  function standing(ticket: Ticket | undefined): Standing | undefined {
    if (ticket === undefined || inbox === undefined) return undefined;
    return [ticket.since.toString(), String(Math.ceil(ticket.waitsMs)), inbox.address(ticket.id)];
  }

  function isClosed(): BackendError {
    return new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
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
    if (closed) throw isClosed();
    mark.forget();
    const server = await mark.learn();
    const remainingMs = Number(server.quarantinedUntil) - server.serverMs;
    return remainingMs > 0
      ? quarantined(server, remainingMs)
      : { kind: "in-service", identity: server.identity };
  }

  return {
    acquire: (request) => run(acquireOperation(ahead, request, standing(request.ticket))),

    raise: (request) => run(raiseOperation(ahead, request)),

    extend: (request) => run(extendOperation(ahead, request)),

    release: (key, owner, ticket) => run(releaseOperation(ahead, key, owner, standing(ticket))),

    async forceRelease(key: string): Promise<boolean> {
      const reply = String(await call.runWhenReady(FORCE_RELEASE, [lockOf(ahead, key)], []));
      if (reply !== "0" && reply !== "1") throw badReply(name, key, reply);
      return reply === "1";
    },

    async inspect(key: string): Promise<KeyRecord> {
      const [lock, remaining, counter] = texts(
        await call.runWhenReady(INSPECT, [lockOf(ahead, key), counterOf(ahead, key)], []),
      );
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
      const reply = String(
        await call.runWhenReady(
          scripts.lift,
          [lockOf(ahead, key), counterOf(ahead, key)],
          [token.toString()],
        ),
      );
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
        const begun = [text, newMemoryId(), String(deployment.quarantineMs)];
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
            await call.runWhenReady(LEAVE, [lockOf(ahead, key)], [inbox.address(ticket)]);
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

/** A release compares none, and its answer says nothing of one. */
const NO_MARK: Known = {
  epoch: 0,
  mark: "",
  quarantinedUntil: "0",
  joined: true,
  identity: { serverId: "", incarnation: "" },
  serverMs: 0,
};

/** Whether what lies in the place of a lock only keeps it for the next in line; see scripts.ts. */
function isReservation(lock: string): boolean {
  return lock.startsWith("r|");
}
