/**
 * What a backend does to the record of one key, as values: every adapter that reads a record and replaces it (compare
 * and swap, a transaction, a turn of the event loop) decides by these functions. The rules are those of
 * `docs/protocol.md`; adapters whose store decides by itself (a script, one conditional statement) state the same ones in
 * its language, and the conformance list holds both to them.
 */
import { higherFence, mintFence } from "./token.js";

/** A lock as it is kept. It may have ended. */
export interface KeptLock {
  readonly owner: string;
  readonly fence: bigint;
  /** Milliseconds of the backend's clock. */
  readonly expiresAt: number;
}

/** What a backend keeps of one key. */
export interface KeptKey {
  readonly lock: KeptLock | undefined;
  /** Outlives the lock. */
  readonly counter: bigint;
  /** When nothing of it is needed any more, in milliseconds of the backend's clock. */
  readonly forgetAt: number;
}

/** The backend's clock in milliseconds, as finely as it shows itself: the true reading lies between the two. */
export interface ClockReading {
  readonly atLeastMs: number;
  readonly atMostMs: number;
}

/** What one operation needs besides the record. */
export interface RecordContext {
  /** Read after the request was made, so that an end counted from it is no earlier than the client reckons. */
  readonly now: ClockReading;
  readonly retentionMs: number;
}

/** The answer, and what is to be kept; `next` is undefined where nothing changes. */
export interface Step<Answer> {
  readonly answer: Answer;
  readonly next: KeptKey | undefined;
}

/** "counter-full": it may not count any further. */
export type AcquireAnswer =
  | { readonly kind: "granted"; readonly fence: bigint }
  | { readonly kind: "held"; readonly remainingMs: number }
  | { readonly kind: "counter-full" };

/** A record of which nothing is kept. */
export const NOTHING_KEPT: KeptKey = { lock: undefined, counter: 0n, forgetAt: 0 };

/** What counts of a record at `now`: an ended lock is no lock, and a counter past its retention is 0. */
export function keptNow(kept: KeptKey | undefined, { atLeastMs }: ClockReading): KeptKey {
  if (kept === undefined) return NOTHING_KEPT;
  if (kept.lock !== undefined && kept.lock.expiresAt > atLeastMs) return kept;
  if (kept.forgetAt <= atLeastMs) return NOTHING_KEPT;
  return kept.lock === undefined ? kept : { ...kept, lock: undefined };
}

/** Whether nothing of a record counts any more, so that it may be deleted. */
export function isForgotten(kept: KeptKey, now: ClockReading): boolean {
  return keptNow(kept, now) === NOTHING_KEPT;
}

/** A lock for `owner`, unless somebody has it. The proposal is clamped already. A duplicate changes nothing. */
export function acquireKey(
  kept: KeptKey | undefined,
  request: { readonly owner: string; readonly ttlMs: number; readonly proposal: bigint },
  context: RecordContext,
): Step<AcquireAnswer> {
  const { owner, ttlMs, proposal } = request;
  const { lock, counter } = keptNow(kept, context.now);
  if (lock !== undefined) {
    const answer: AcquireAnswer =
      lock.owner === owner
        ? { kind: "granted", fence: lock.fence }
        : { kind: "held", remainingMs: lock.expiresAt - context.now.atLeastMs };
    return { answer, next: undefined };
  }
  const fence = mintFence(counter, proposal);
  if (fence === undefined) return { answer: { kind: "counter-full" }, next: undefined };
  const granted: KeptLock = { owner, fence, expiresAt: context.now.atMostMs + ttlMs };
  return { answer: { kind: "granted", fence }, next: written(granted, fence, context) };
}

/** Remembers at least `token`, where the lock of this owner and fence lives. */
export function raiseKey(
  kept: KeptKey | undefined,
  request: { readonly owner: string; readonly fence: bigint; readonly token: bigint },
  context: RecordContext,
): Step<"raised" | "refused"> {
  const { lock, counter } = keptNow(kept, context.now);
  // Owner and fence: a lock that was granted anew to the same owner belongs to another grant.
  if (lock === undefined || lock.owner !== request.owner || lock.fence !== request.fence) {
    return { answer: "refused", next: undefined };
  }
  return { answer: "raised", next: written(lock, higherFence(counter, request.token), context) };
}

/** A later end, never an earlier one; or, where it may, the lock anew. `quarantined`: the backend does not vote. */
export function extendKey(
  kept: KeptKey | undefined,
  request: {
    readonly owner: string;
    readonly ttlMs: number;
    readonly token: bigint;
    readonly mayHeal: boolean;
    readonly quarantined: boolean;
  },
  context: RecordContext,
): Step<"extended" | "recreated" | "not-owner" | "quarantined"> {
  const { owner } = request;
  const { lock, counter: before } = keptNow(kept, context.now);
  const counter = higherFence(before, request.token);
  const expiresAt = context.now.atMostMs + request.ttlMs;
  if (lock?.owner === owner) {
    const longer: KeptLock = { ...lock, expiresAt: Math.max(lock.expiresAt, expiresAt) };
    return { answer: "extended", next: written(longer, counter, context) };
  }
  if (request.quarantined) return { answer: "quarantined", next: undefined };
  if (lock !== undefined || !request.mayHeal) return { answer: "not-owner", next: undefined };
  const healed: KeptLock = { owner, fence: counter, expiresAt };
  return { answer: "recreated", next: written(healed, counter, context) };
}

/** No lock, where it was this owner's; the counter stays. */
export function releaseKey(
  kept: KeptKey | undefined,
  owner: string,
  context: RecordContext,
): Step<"released" | "not-owner"> {
  const { lock, counter } = keptNow(kept, context.now);
  if (lock?.owner !== owner) return { answer: "not-owner", next: undefined };
  return { answer: "released", next: written(undefined, counter, context) };
}

/** No lock, whoever had it; the counter stays. */
export function forceReleaseKey(kept: KeptKey | undefined, context: RecordContext): Step<boolean> {
  const { lock, counter } = keptNow(kept, context.now);
  if (lock === undefined) return { answer: false, next: undefined };
  return { answer: true, next: written(undefined, counter, context) };
}

/** A counter of at least `token`. */
export function liftKey(kept: KeptKey | undefined, token: bigint, context: RecordContext): Step<bigint> {
  const { lock, counter } = keptNow(kept, context.now);
  const lifted = higherFence(counter, token);
  return { answer: lifted, next: written(lock, lifted, context) };
}

function written(lock: KeptLock | undefined, counter: bigint, context: RecordContext): KeptKey {
  return { lock, counter, forgetAt: context.now.atMostMs + context.retentionMs };
}
