/** What is known of the server behind a connection: its mark, and through it which memory it has and whether it votes. */
import type { BackendIdentity, Deployment } from "../../backend.js";
import { markFits, parseMark, type MarkExpectation, type MemoryKind } from "../../engine/mark.js";
import { BackendError, type BackendErrorCode } from "../../errors.js";
import { newMemoryId } from "../shared/mark-reader.js";
import { foreignMark, mismatch } from "../shared/refusals.js";
import { texts, type Caller } from "./call.js";
import type { Connection } from "./connection.js";
import { REGISTER } from "./scripts.js";

/** What a connection knows of its server. */
export interface Known {
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

/** The mark of one server, as one session knows it. */
export interface ServerMark {
  /** What is known of the server behind the connection of now, without asking it. */
  fresh(): Known | undefined;
  /** Asks the server behind the connection of now. */
  learn(): Promise<Known>;
  /** It turned out to be another one than `known`, or may be; undefined: whatever is known. */
  forget(known?: Known): void;
  /** Has the server look at itself when that is due; see {@link RELEARN_AFTER_MS}. */
  relearnWhenDue(known: Known): void;
}

/** What the mark is compared with. */
export interface ServerMarkOptions {
  readonly name: string;
  readonly markKey: string;
  readonly memory: MemoryKind;
  readonly deployment: Deployment;
  /** A Cluster has no mark. */
  readonly isCluster: boolean;
}

/**
 * A server that was made a replica and a master again has the data of another one, but its process, its connections and
 * perhaps even the mark are the same; only INFO tells. So it is asked every now and then, in front of an operation.
 */
const RELEARN_AFTER_MS = 1_000;

/** Faults after which a server may not be what it was, though its connection is. */
const LOOK_AGAIN_AFTER: ReadonlySet<BackendErrorCode> = new Set(["BACKEND_READONLY", "BACKEND_LOADING"]);

/** Whether a server may not be what it was after this fault, though its connection is. */
export function mayHaveChanged({ code }: BackendError): boolean {
  return LOOK_AGAIN_AFTER.has(code);
}

/** Knows nothing yet. */
export function createServerMark(
  connection: Connection,
  call: Caller,
  options: ServerMarkOptions,
): ServerMark {
  const { name, markKey, memory, deployment } = options;
  let known: Known | undefined;
  let learning: { readonly epoch: number; readonly promise: Promise<Known> } | undefined;
  let relearnAt = 0;

  async function learn(): Promise<Known> {
    await connection.ready(name);
    const epoch = connection.epoch();
    if (learning?.epoch !== epoch) {
      const promise = (options.isCluster ? askCluster(epoch) : register(epoch)).finally(() => {
        learning = undefined;
      });
      learning = { epoch, promise };
    }
    return learning.promise;
  }

  async function register(epoch: number): Promise<Known> {
    const { backends, quorum, maxTtlMs, quarantineMs } = deployment;
    const figures = [backends, quorum, maxTtlMs, quarantineMs].map(String);
    const fresh = newMemoryId();
    const [text = "", runId, serverMs] = await call
      .run(REGISTER, [markKey], [memory, ...figures, fresh], texts)
      .catch((error: unknown) => {
        throw markUnreadable(name, call.fault(error));
      });
    if (text === "blind") throw markUnreadable(name, "INFO says neither run_id nor master_replid");
    if (text === "old") {
      const what = "its server is too old: Redis 7 or Valkey 8 is needed";
      throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
    }
    const mark = parseMark(text);
    const place = `the key ${markKey}`;
    if (mark === undefined) throw foreignMark(name, text, place);
    const expected: MarkExpectation = { figures: deployment, memory, origin: "", quarantineMs };
    if (!markFits(mark, expected)) throw mismatch(name, mark, expected, place);
    return remember({
      epoch,
      mark: text,
      quarantinedUntil: String(mark.quarantinedUntil),
      joined: mark.joined,
      identity: { serverId: runId || mark.incarnation, incarnation: mark.incarnation },
      serverMs: Number(serverMs),
    });
  }

  /** The master of the first slot names it. */
  async function askCluster(epoch: number): Promise<Known> {
    const serverId = `cluster ${firstMaster(await call.command("CLUSTER", "SLOTS"))}`;
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

  return {
    fresh: () =>
      known !== undefined && known.epoch === connection.epoch() && connection.isReady() ? known : undefined,
    learn,
    forget(which) {
      if (which === undefined || known === which) known = undefined;
    },
    relearnWhenDue({ epoch }) {
      // Ahead of the next operation on the same connection: if its memory is new, the mark is another one by then, and
      // the operation does not act.
      if (performance.now() <= relearnAt) return;
      relearnAt = performance.now() + RELEARN_AFTER_MS;
      if (memory !== "volatile") return;
      register(epoch).catch(() => {
        known = undefined;
      });
    },
  };
}

/** Why it cannot be told whether the memory is new. */
export function markUnreadable(backend: string, cause: BackendError | string): BackendError {
  if (typeof cause === "string" || cause.code === "BACKEND_NO_PERMISSION") {
    const what =
      `whether it lost its memory cannot be told, since its mark or INFO cannot be read ` +
      `(${typeof cause === "string" ? cause : cause.message}). Allow INFO and the mark to its user, or say durable: true ` +
      `or restartGuard: "off" if it never forgets`;
    return new BackendError("BACKEND_MARK_UNREADABLE", { backend, what }, cause);
  }
  return cause;
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
