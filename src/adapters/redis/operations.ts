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

/** One step to one key, written only in the way in which it travels. */
export interface Operation<T> {
  readonly kind: keyof typeof BATCHED;
  readonly lock: string;
  /** Undefined where it is not touched. */
  readonly counter: string | undefined;
  /** Whether it may travel with others: only an owner may have line breaks in it, and none that a locker makes has. */
  readonly isLine: boolean;
  /** As its own script takes them. Only the last one may have blanks in it. */
  args(): readonly string[];
  /** What the answer means that the server `backend` gave under `known`. */
  read(answer: string, known: Known, backend: string): T;
}

/** As a batch tells it: a line with its letter and its arguments. */
export function lineOf(operation: Operation<unknown>): string {
  const args = operation.args();
  let line = BATCHED[operation.kind] + args[0];
  for (let i = 1; i < args.length; i++) line += ` ${args[i]}`;
  return `${line}\n`;
}

/** Where a waiter stands in line: since when, for how long, under which name. */
export type Standing = readonly [since: string, waitsMs: string, address: string];

class Acquire implements Operation<AcquireReply> {
  readonly kind: "acquire" | "wait";
  readonly lock: string;
  readonly counter: string;
  readonly isLine: boolean;
  readonly #ahead: string;
  readonly #key: string;
  readonly #owner: string;
  readonly #ttlMs: number;
  readonly #proposal: bigint;
  readonly #standing: Standing | undefined;

  constructor(
    ahead: string,
    { key, owner, ttlMs, proposal }: AcquireRequest,
    standing: Standing | undefined,
  ) {
    this.kind = standing === undefined ? "acquire" : "wait";
    this.lock = lockOf(ahead, key);
    this.counter = counterOf(ahead, key);
    this.isLine = !owner.includes("\n");
    this.#ahead = ahead;
    this.#key = key;
    this.#owner = owner;
    this.#ttlMs = ttlMs;
    this.#proposal = proposal;
    this.#standing = standing;
  }

  /** Whether it is the same request to a server of the same names. Compared by what is in it, since others may use an object twice. */
  isFor(ahead: string, { key, owner, ttlMs, proposal }: AcquireRequest): boolean {
    return (
      this.#owner === owner &&
      this.#key === key &&
      this.#proposal === proposal &&
      this.#ttlMs === ttlMs &&
      this.#ahead === ahead
    );
  }

  args(): readonly string[] {
    const [ttl, proposed, mine] = [String(this.#ttlMs), this.#proposal.toString(), ownedBy(this.#owner)];
    return this.#standing === undefined ? [ttl, proposed, mine] : [ttl, proposed, ...this.#standing, mine];
  }

  read(answer: string, known: Known, backend: string): AcquireReply {
    const rest = answer.slice(1);
    const { identity } = known;
    switch (answer[0]) {
      case "g":
        return { kind: "granted", fence: rest === "" ? this.#proposal : BigInt(rest), identity };
      case "h":
      case "k": {
        const remainingMs = Number(rest) < 0 ? undefined : Number(rest);
        if (answer[0] === "h") return { kind: "held", remainingMs, identity };
        return { kind: "held", remainingMs, reserved: true, identity };
      }
      case "q":
        return quarantined(known, Number(rest));
      default:
        throw badReply(backend, this.#key, answer);
    }
  }
}

class Release implements Operation<ReleaseReply> {
  readonly kind: "release" | "giveBack";
  readonly lock: string;
  readonly counter = undefined;
  readonly isLine: boolean;
  readonly #ahead: string;
  readonly #key: string;
  readonly #owner: string;
  readonly #standing: Standing | undefined;

  constructor(ahead: string, key: string, owner: string, standing: Standing | undefined) {
    this.kind = standing === undefined ? "release" : "giveBack";
    this.lock = lockOf(ahead, key);
    this.isLine = !owner.includes("\n");
    this.#ahead = ahead;
    this.#key = key;
    this.#owner = owner;
    this.#standing = standing;
  }

  /** As for an acquire. */
  isFor(ahead: string, key: string, owner: string): boolean {
    return this.#owner === owner && this.#key === key && this.#ahead === ahead;
  }

  args(): readonly string[] {
    const mine = ownedBy(this.#owner);
    return this.#standing === undefined ? [mine] : [...this.#standing, mine];
  }

  read(answer: string): ReleaseReply {
    return answer === "d" ? "released" : "not-owner";
  }
}

/** What was written last, other than of a waiter, whose name differs on each server. */
let lastAcquire: Acquire | undefined;
let lastRelease: Release | undefined;

/** `ahead`: what is in front of every key of the deployment on that server. */
export function acquireOperation(
  ahead: string,
  request: AcquireRequest,
  standing: Standing | undefined,
): Operation<AcquireReply> {
  if (standing !== undefined) return new Acquire(ahead, request, standing);
  if (lastAcquire?.isFor(ahead, request) !== true) lastAcquire = new Acquire(ahead, request, undefined);
  return lastAcquire;
}

/** As {@link acquireOperation}. */
export function releaseOperation(
  ahead: string,
  key: string,
  owner: string,
  standing: Standing | undefined,
): Operation<ReleaseReply> {
  if (standing !== undefined) return new Release(ahead, key, owner, standing);
  if (lastRelease?.isFor(ahead, key, owner) !== true) lastRelease = new Release(ahead, key, owner, undefined);
  return lastRelease;
}

export function raiseOperation(
  ahead: string,
  { key, owner, fence, token }: RaiseRequest,
): Operation<RaiseReply> {
  return {
    kind: "raise",
    lock: lockOf(ahead, key),
    counter: counterOf(ahead, key),
    isLine: !owner.includes("\n"),
    args: () => [token.toString(), `${owner}|${fence}`],
    read(answer, _known, backend): RaiseReply {
      if (answer === "r") return "raised";
      if (answer === "n") return "refused";
      throw badReply(backend, key, answer);
    },
  };
}

export function extendOperation(
  ahead: string,
  { key, owner, ttlMs, token, mayHeal }: ExtendRequest,
): Operation<ExtendReply> {
  return {
    kind: "extend",
    lock: lockOf(ahead, key),
    counter: counterOf(ahead, key),
    isLine: !owner.includes("\n"),
    args: () => [String(ttlMs), token.toString(), mayHeal ? "1" : "0", ownedBy(owner)],
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
  };
}

/** How a lock of the owner begins. */
function ownedBy(owner: string): string {
  return `${owner}|`;
}

/** The key of a lock on a server. */
export function lockOf(ahead: string, key: string): string {
  return `${ahead}${key}}:l`;
}

/** The key of the counter of a lock. */
export function counterOf(ahead: string, key: string): string {
  return `${ahead}${key}}:f`;
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
