/** What a locker offers whoever is on call: to see, explain and repair the state of locks. See `docs/operations.md`. */
import { requestDeadlineMs } from "../engine/schedule.js";
import { checkKey, checkToken, resolveList, type ListOptions, type ResolvedOptions } from "../options.js";
import type { Inquiry } from "./ask.js";
import type { Reporter } from "./events.js";
import { examineAll, type BackendExamination } from "./examine.js";
import { inspectKey, type KeyReport } from "./inspect.js";
import { listKeys, type KeyListing } from "./list.js";
import type { Quorum } from "./poll.js";
import {
  forceReleaseEverywhere,
  liftEverywhere,
  quarantineBackend,
  type ForceReleaseReport,
  type LiftReport,
  type QuarantineReport,
} from "./repair.js";
import type { Interruption } from "./waiting.js";

/** The calls of an operator. All of them are bounded, and reject with `CLOSED` once the locker is closed. */
export interface Operator {
  /**
   * Asks all backends what they have of a key. Changes nothing, and takes no part in the lock. Resolves whoever does not
   * answer: what cannot be told then is "unknown". Rejects with `INVALID_KEY`.
   */
  inspect(key: string): Promise<KeyReport>;
  /**
   * Lists keys with a live lock on some backend, each as {@link Operator.inspect} reports it. What of it is whole stands in
   * {@link KeyListing.coverage}. Locks that come and go meanwhile may be missing. Throws `INVALID_OPTION`.
   *
   * @example
   * ```ts
   * import { createLocker } from "quorum-lock";
   * import { memory } from "quorum-lock/memory";
   *
   * const locker = createLocker({ backends: [memory(), memory(), memory()] });
   * const listing = locker.list({ prefix: "report:" });
   * for await (const { key, state, remainingMs } of listing) console.log(key, state, remainingMs);
   * if (!listing.coverage.complete) console.log("not all held locks are shown", listing.coverage.backends);
   * ```
   */
  list(options?: ListOptions): KeyListing;
  /**
   * Deletes the lock of a key on all backends, whoever owns it; counters stay. It does not stop the holder, who learns it
   * at the next extension or look and may write until then: have the writes guarded by the token. Nor does it undo an
   * acquire that is in flight. Rejects with `NO_QUORUM` when fewer than q backends confirmed (what was deleted stays
   * deleted, and the others may still act on the request), `CONFIG_MISMATCH`, `SAME_BACKEND` or `INVALID_KEY`.
   */
  forceRelease(key: string): Promise<ForceReleaseReport>;
  /**
   * Lifts the counter of a key to at least `token` on all backends, so that every later token is larger: for a guard that
   * has seen higher tokens than the backends remember. Leaves locks and leases alone: the holder of now keeps its lower
   * token. At 2^53 - 2 nothing can be granted any more. Rejects with `NO_QUORUM` when fewer than q backends confirmed,
   * `CONFIG_MISMATCH`, `SAME_BACKEND`, `INVALID_KEY` or `INVALID_OPTION`.
   */
  lift(key: string, token: bigint): Promise<LiftReport>;
  /**
   * Begins the quarantine of one backend, by its name, as if its memory were new: after a restore from a backup, which no
   * backend notices by itself. It then does not vote until the longest lock that it may have forgotten has ended. Rejects
   * with the `BackendError` of the backend, or with `INVALID_OPTION`.
   */
  quarantine(backend: string): Promise<QuarantineReport>;
  /** Asks all backends who and how they are. Changes nothing but a missing mark, as every first contact does. */
  examine(): Promise<readonly BackendExamination[]>;
}

/** The operator of one locker. */
export function createOperator(of: {
  readonly quorum: Quorum;
  readonly closing: Interruption;
  readonly reporter: Reporter;
  readonly resolved: ResolvedOptions;
}): Operator {
  const { quorum, closing, reporter, resolved } = of;
  const inquiry: Inquiry = { quorum, closing, deadlineMs: requestDeadlineMs(resolved.ttlMs) };
  return {
    inspect: async (key) => inspectKey(inquiry, checkKey(key)),
    list: (options = {}) => listKeys(inquiry, resolveList(options)),
    forceRelease: async (key) => forceReleaseEverywhere(inquiry, reporter, checkKey(key)),
    lift: async (key, token) =>
      liftEverywhere(inquiry, reporter, { key: checkKey(key), token: checkToken("lift(token)", token) }),
    quarantine: async (backend) => quarantineBackend(inquiry, reporter, backend),
    examine: async () => examineAll(inquiry),
  };
}
