/**
 * The operations that a busy locker has many of, as they are written for a server, and what its answers mean. The backends of a quorum
 * are asked the same, one behind the other, so that what was written for the first is there for the others.
 */
import type {
  AcquireReply,
  AcquireRequest,
  ExtendReply,
  ExtendRequest,
  Quarantined,
  RaiseReply,
  RaiseRequest,
  ReleaseReply,
} from "../../backend.js";
import { BackendError, show } from "../../errors.js";
import { BATCHED } from "./scripts.js";
import type { Known } from "./server-mark.js";

/** One step to one key. */
export interface Operation<T> {
  readonly kind: keyof typeof BATCHED;
  readonly lock: string;
  /** Undefined where it is not touched. */
  readonly counter: string | undefined;
  /** Only the last one may have blanks in it. */
  readonly args: readonly string[];
  /** As a batch tells it: a line with its letter and its arguments; undefined where there are line breaks in one. */
  readonly text: string | undefined;
  /** What the answer means that the server `backend` gave under `known`. */
  read(answer: string, known: Known, backend: string): T;
}

/** Where a waiter stands in line: since when, for how long, under which name. */
export type Standing = readonly [since: string, waitsMs: string, address: string];

/** Of two servers with the same `ahead`, what is in front of every key, the same request is one operation, unless it waits. */
export function acquireOperation(
  ahead: string,
  request: AcquireRequest,
  standing: Standing | undefined,
): Operation<AcquireReply> {
  if (standing === undefined && lastAcquire?.request === request && lastAcquire.ahead === ahead) {
    return lastAcquire.operation;
  }
  const { key, owner, ttlMs, proposal } = request;
  const begin = [String(ttlMs), proposal.toString()];
  const mine = ownedBy(owner);
  const { lock, counter } = namesOf(ahead, key);
  const read = (answer: string, known: Known, backend: string): AcquireReply => {
    const rest = answer.slice(1);
    const { identity } = known;
    switch (answer[0]) {
      case "g":
        return { kind: "granted", fence: rest === "" ? proposal : BigInt(rest), identity };
      case "h":
      case "k": {
        const remainingMs = Number(rest) < 0 ? undefined : Number(rest);
        if (answer[0] === "h") return { kind: "held", remainingMs, identity };
        return { kind: "held", remainingMs, reserved: true, identity };
      }
      case "q":
        return quarantined(known, Number(rest));
      default:
        throw badReply(backend, key, answer);
    }
  };
  if (standing !== undefined)
    return written("wait", { lock, counter, args: [...begin, ...standing, mine], read });
  const operation = written("acquire", { lock, counter, args: [...begin, mine], read });
  lastAcquire = { ahead, request, operation };
  return operation;
}

export function raiseOperation(ahead: string, request: RaiseRequest): Operation<RaiseReply> {
  const { key, owner, fence, token } = request;
  const args = [token.toString(), `${owner}|${fence}`];
  return written("raise", {
    ...namesOf(ahead, key),
    args,
    read(answer, _known, backend): RaiseReply {
      if (answer === "r") return "raised";
      if (answer === "n") return "refused";
      throw badReply(backend, key, answer);
    },
  });
}

export function extendOperation(ahead: string, request: ExtendRequest): Operation<ExtendReply> {
  const { key, owner, ttlMs, token, mayHeal } = request;
  const args = [String(ttlMs), token.toString(), mayHeal ? "1" : "0", ownedBy(owner)];
  return written("extend", {
    ...namesOf(ahead, key),
    args,
    read(answer, known, backend): ExtendReply {
      const { identity } = known;
      switch (answer[0]) {
        case "e":
          return { kind: "extended", identity };
        case "c":
          return { kind: "recreated", identity };
        case "n":
          return { kind: "not-owner", identity };
        case "q":
          return quarantined(known, Number(answer.slice(1)));
        default:
          throw badReply(backend, key, answer);
      }
    },
  });
}

/** As {@link acquireOperation}. */
export function releaseOperation(
  ahead: string,
  key: string,
  owner: string,
  standing: Standing | undefined,
): Operation<ReleaseReply> {
  if (
    standing === undefined &&
    lastRelease?.owner === owner &&
    lastRelease.key === key &&
    lastRelease.ahead === ahead
  ) {
    return lastRelease.operation;
  }
  const { lock } = namesOf(ahead, key);
  if (standing !== undefined)
    return written("giveBack", {
      lock,
      counter: undefined,
      args: [...standing, ownedBy(owner)],
      read: released,
    });
  const operation = written("release", { lock, counter: undefined, args: [ownedBy(owner)], read: released });
  lastRelease = { ahead, key, owner, operation };
  return operation;
}

/** How a lock of the owner begins. */
function ownedBy(owner: string): string {
  return `${owner}|`;
}

function released(answer: string): ReleaseReply {
  return answer === "d" ? "released" : "not-owner";
}

/** The keys of a lock and of its counter on a server. */
export function namesOf(ahead: string, key: string): { readonly lock: string; readonly counter: string } {
  return { lock: `${ahead}${key}}:l`, counter: `${ahead}${key}}:f` };
}

/** What was written last. */
let lastAcquire:
  | { readonly ahead: string; readonly request: AcquireRequest; readonly operation: Operation<AcquireReply> }
  | undefined;
let lastRelease:
  | {
      readonly ahead: string;
      readonly key: string;
      readonly owner: string;
      readonly operation: Operation<ReleaseReply>;
    }
  | undefined;

function written<T>(
  kind: keyof typeof BATCHED,
  { lock, counter, args, read }: Omit<Operation<T>, "kind" | "text">,
): Operation<T> {
  // Only an owner may have line breaks in it, and none that a locker makes has: it is the last one.
  const text = args.at(-1)?.includes("\n") === true ? undefined : lineOf(BATCHED[kind], args);
  return { kind, lock, counter, args, text, read };
}

/** As `args.join(" ")`, which is a call out of compiled code. */
function lineOf(letter: string, args: readonly string[]): string {
  let line = letter + args[0];
  for (let i = 1; i < args.length; i++) line += ` ${args[i]}`;
  return `${line}\n`;
}

/** The server has a new memory, and does not vote yet. */
export function quarantined(server: Known, remainingMs: number): Quarantined {
  return { kind: "quarantined", remainingMs, joined: server.joined, identity: server.identity };
}

/** What was answered means nothing that could be. */
export function badReply(backend: string, key: string, reply: string): BackendError {
  if (reply.startsWith("x")) return counterBroken(backend, key, reply.slice(1));
  if (reply === "w") return noLock(backend, key);
  return new BackendError("BACKEND_REFUSED", { backend, what: `it answered ${show(reply)}` });
}

export function counterBroken(backend: string, key: string, counter: string): BackendError {
  const what = `the counter of key ${show(key)} is ${show(counter)}: no number, or it may not count any further`;
  return new BackendError("BACKEND_COUNTER_BROKEN", { backend, what });
}

export function noLock(backend: string, key: string): BackendError {
  const what = `something else than a lock is stored under the lock key of ${show(key)}; it is left alone`;
  return new BackendError("BACKEND_WRONG_TYPE", { backend, what });
}
