/**
 * Tells on stderr when the lock of a run hangs on fewer backends than before, or on more again: the second failure must
 * not be the first that anybody notices. Few lines, however often a backend comes and goes.
 */
import { majority } from "../engine/quorum.js";
import { NoQuorumError, type BackendError, type BackendErrorCode, type VoteReport } from "../errors.js";
import type { Locker } from "../lock/locker.js";
import type { LockerOptions } from "../options.js";
import { tell } from "./terminal.js";

/** What is known of the backends of a locker. */
export interface Redundancy {
  /** Backends that fail, with what they failed of last. */
  readonly faults: ReadonlyMap<string, BackendError>;
  /**
   * Aborts when so many backends refuse for a reason that no waiting mends that no quorum is left. The reason is a
   * `NoQuorumError`.
   */
  readonly hopeless: AbortSignal;
  /** From now on changes are told. */
  start(): void;
  /** Tells what is not told yet, and ends it. */
  stop(): void;
}

/** Failures come in bursts, and so do the faults of one failure. */
const SETTLE_MS = 300;
/** Two lines are at least so far apart, unless there is no quorum any more. */
const TELL_EVERY_MS = 10_000;
/** Waiting does not make a password right. */
const FOR_GOOD: ReadonlySet<BackendErrorCode> = new Set([
  "BACKEND_AUTH",
  "BACKEND_NO_PERMISSION",
  "BACKEND_UNSUPPORTED",
]);

/** Begins to listen to a locker. `key`: what is to be locked, for messages. */
export function watchRedundancy(locker: Locker, options: LockerOptions, key: string): Redundancy {
  const names = options.backends.map(({ name }) => name);
  const needed = options.quorum ?? majority(names.length);
  const faults = new Map<string, BackendError>();
  const quarantines = new Map<string, NodeJS.Timeout>();
  const hopeless = new AbortController();
  const startedMs = performance.now();
  let told: ReadonlySet<string> | undefined;
  let toldAtMs = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let dueAtMs = Number.POSITIVE_INFINITY;
  let givingUp: NodeJS.Timeout | undefined;

  const isDown = (name: string): boolean => faults.has(name) || quarantines.has(name);
  const left = (): number => names.filter((name) => !isDown(name)).length;

  const stops = [
    locker.on("backendFault", ({ backend, error }) => {
      faults.set(backend, error);
      const forGood = [...faults.values()].filter(({ code }) => FOR_GOOD.has(code)).length;
      // The others' faults arrive meanwhile, so that one line names them all.
      if (forGood > names.length - needed) givingUp ??= setTimeout(giveUp, SETTLE_MS);
      changed();
    }),
    locker.on("backendRecovered", ({ backend }) => {
      faults.delete(backend);
      changed();
    }),
    locker.on("backendQuarantined", ({ backend, remainingMs }) => {
      clearTimeout(quarantines.get(backend));
      const over = (): void => {
        quarantines.delete(backend);
        changed();
      };
      quarantines.set(backend, setTimeout(over, remainingMs).unref());
      changed();
    }),
  ];

  function giveUp(): void {
    const waitedMs = performance.now() - startedMs;
    const votes = names.map((backend): VoteReport => {
      const error = faults.get(backend);
      if (error === undefined) return { backend, vote: "no-answer", elapsedMs: waitedMs };
      return { backend, vote: "fault", elapsedMs: waitedMs, code: error.code, error };
    });
    hopeless.abort(new NoQuorumError({ key, votes, attempts: 1, waitedMs, retryAfterMs: undefined }));
  }

  function changed(): void {
    if (told === undefined) return;
    const nowMs = performance.now();
    const calmMs = left() < needed ? 0 : toldAtMs + TELL_EVERY_MS - nowMs;
    const delayMs = Math.max(SETTLE_MS, calmMs);
    if (nowMs + delayMs >= dueAtMs) return;
    clearTimeout(timer);
    dueAtMs = nowMs + delayMs;
    timer = setTimeout(tellChange, delayMs).unref();
  }

  function tellChange(): void {
    dueAtMs = Number.POSITIVE_INFINITY;
    const before = told ?? new Set();
    const failed = names.filter((name) => isDown(name) && !before.has(name));
    const back = names.filter((name) => !isDown(name) && before.has(name));
    if (failed.length === 0 && back.length === 0) return;
    told = new Set(names.filter(isDown));
    toldAtMs = performance.now();
    const parts = [...failed.map(failure), ...back.map((name) => `backend ${name} is back`), outlook()];
    tell(parts.join("; "));
  }

  function failure(name: string): string {
    const error = faults.get(name);
    if (error === undefined) return `backend ${name} has a new memory and does not vote for a while`;
    return `backend ${name} failed (${error.message.replace(`backend ${name}: `, "")})`;
  }

  function outlook(): string {
    const n = left();
    if (n === names.length) return `all ${n} hold the lock again`;
    const counts = `${n} of ${names.length} left, ${needed} needed`;
    if (n < needed) return `${counts}: the lock cannot be extended, and is lost unless they come back`;
    return n === needed ? `${counts}: one more failure loses the lock` : counts;
  }

  return {
    faults,
    hopeless: hopeless.signal,
    start(): void {
      clearTimeout(givingUp);
      told = new Set();
      if (left() < names.length) changed();
    },
    stop(): void {
      // A short job must not hide it.
      if (told !== undefined) tellChange();
      told = undefined;
      for (const stop of stops) stop();
      for (const each of [timer, givingUp, ...quarantines.values()]) clearTimeout(each);
    },
  };
}
