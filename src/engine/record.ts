/**
 * What a backend does to the record of one key, as values: every adapter that reads a record and replaces it (compare
 * and swap, a transaction, a turn of the event loop) decides by these functions. The rules are those of
 * `docs/protocol.md`; adapters whose store decides by itself (a script, one conditional statement) state the same ones in
 * its language, and the conformance list holds both to them.
 */
import {
  advanced,
  joined,
  LINE_MAX,
  reservedMs,
  reservedNow,
  stands,
  without,
  type KeptLine,
  type Reservation,
  type Waiter,
} from "./line.js";
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
  /** Who waits for it; undefined where nobody does. */
  readonly line?: KeptLine | undefined;
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
  /** See `LineContext`. */
  readonly over?: Reservation | undefined;
}

/** The answer, and what is to be kept; `next` is undefined where nothing changes. */
export interface Step<Answer> {
  readonly answer: Answer;
  readonly next: KeptKey | undefined;
  /** The answer holds even where `next` could not be written: it is about a place in line. */
  readonly isAdvice?: true;
}

/** "counter-full": it may not count any further. */
export type AcquireAnswer =
  | { readonly kind: "granted"; readonly fence: bigint }
  /** `reserved`: no lock, but kept for somebody else in line. */
  | { readonly kind: "held"; readonly remainingMs: number; readonly reserved?: true }
  | { readonly kind: "counter-full" };

/** A record of which nothing is kept. */
export const NOTHING_KEPT: KeptKey = { lock: undefined, counter: 0n, forgetAt: 0, line: undefined };

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

/**
 * A lock for `owner`, unless somebody has it or it is kept for somebody else; a ticket then stands in line. The proposal is
 * clamped already. A duplicate changes nothing of the lock.
 */
export function acquireKey(
  kept: KeptKey | undefined,
  request: {
    readonly owner: string;
    readonly ttlMs: number;
    readonly proposal: bigint;
    readonly ticket?: Waiter | undefined;
  },
  context: RecordContext,
): Step<AcquireAnswer> {
  const { owner, ttlMs, proposal, ticket } = request;
  const seen = keptNow(kept, context.now);
  const { lock, counter, line } = seen;
  if (lock?.owner === owner) {
    const answer = { kind: "granted", fence: lock.fence } as const;
    if (ticket === undefined || !stands(line, ticket.id)) return { answer, next: undefined };
    // An extension that came before the acquire created it anew: who has the lock stands in line no more.
    return { answer, next: { ...seen, line: without(line, ticket.id) }, isAdvice: true };
  }
  if (lock !== undefined) {
    const remainingMs = lock.expiresAt - context.now.atLeastMs;
    return standing(seen, ticket, { answer: { kind: "held", remainingMs }, context });
  }
  const reserved = reservedNow(line, context);
  if (reserved !== undefined && reserved.id !== ticket?.id) {
    const remainingMs = reservedMs(reserved, context.now);
    return standing(seen, ticket, { answer: { kind: "held", remainingMs, reserved: true }, context });
  }
  const fence = mintFence(counter, proposal);
  if (fence === undefined) return { answer: { kind: "counter-full" }, next: undefined };
  const granted: KeptLock = { owner, fence, expiresAt: context.now.atMostMs + ttlMs };
  const waiting = line && { ...line, reserved: undefined };
  const next = { lock: granted, counter: fence, line: without(waiting, ticket?.id ?? "") };
  return { answer: { kind: "granted", fence }, next: written(next, context) };
}

/** What is told to somebody who is not let in, and the record with its ticket in line. */
function standing(
  seen: KeptKey,
  ticket: Waiter | undefined,
  { answer, context }: { readonly answer: AcquireAnswer; readonly context: RecordContext },
): Step<AcquireAnswer> {
  if (ticket === undefined) return { answer, next: undefined };
  const line = joined(seen.line, ticket, context);
  return line === seen.line
    ? { answer, next: undefined }
    : { answer, next: { ...seen, line }, isAdvice: true };
}

/** Remembers at least `token`, where the lock of this owner and fence lives. */
export function raiseKey(
  kept: KeptKey | undefined,
  request: { readonly owner: string; readonly fence: bigint; readonly token: bigint },
  context: RecordContext,
): Step<"raised" | "refused"> {
  const { lock, counter, line } = keptNow(kept, context.now);
  // Owner and fence: a lock that was granted anew to the same owner belongs to another grant.
  if (lock === undefined || lock.owner !== request.owner || lock.fence !== request.fence) {
    return { answer: "refused", next: undefined };
  }
  return {
    answer: "raised",
    next: written({ lock, counter: higherFence(counter, request.token), line }, context),
  };
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
  const { lock, counter: before, line } = keptNow(kept, context.now);
  const counter = higherFence(before, request.token);
  const expiresAt = context.now.atMostMs + request.ttlMs;
  if (lock?.owner === owner) {
    const longer: KeptLock = { ...lock, expiresAt: Math.max(lock.expiresAt, expiresAt) };
    return { answer: "extended", next: written({ lock: longer, counter, line }, context) };
  }
  if (request.quarantined) return { answer: "quarantined", next: undefined };
  if (lock !== undefined || !request.mayHeal) return { answer: "not-owner", next: undefined };
  // What is kept for somebody who waits is not free.
  if (reservedNow(line, context) !== undefined) return { answer: "not-owner", next: undefined };
  const healed: KeptLock = { owner, fence: counter, expiresAt };
  return { answer: "recreated", next: written({ lock: healed, counter, line }, context) };
}

/**
 * No lock, where it was this owner's; the counter stays, and the key is kept for the first in line. A ticket is back in line before
 * that is decided.
 */
export function releaseKey(
  kept: KeptKey | undefined,
  { owner, ticket }: { readonly owner: string; readonly ticket?: Waiter | undefined },
  context: RecordContext,
): Step<"released" | "not-owner"> {
  const { lock, counter, line: before } = keptNow(kept, context.now);
  if (lock?.owner !== owner) return { answer: "not-owner", next: undefined };
  // There is room for it, since one is taken out now. A smallest ticket that were left out would be passed by all others.
  const line = ticket === undefined ? before : joined(before, ticket, context, LINE_MAX + 1);
  return { answer: "released", next: freed({ counter, line }, context) };
}

/** No lock, whoever had it; the counter stays, and the key is kept for the first in line. */
export function forceReleaseKey(kept: KeptKey | undefined, context: RecordContext): Step<boolean> {
  const { lock, counter, line } = keptNow(kept, context.now);
  if (lock === undefined) return { answer: false, next: undefined };
  return { answer: true, next: freed({ counter, line }, context) };
}

/** Takes a ticket out of the line; a key that is kept for it goes to the next. */
export function leaveKey(kept: KeptKey | undefined, id: string, context: RecordContext): Step<undefined> {
  const seen = keptNow(kept, context.now);
  const { lock, line } = seen;
  const gone = without(line, id);
  const wasCalled = lock === undefined && reservedNow(line, context)?.id === id;
  if (wasCalled) return { answer: undefined, next: { ...seen, line: advanced(gone, context) } };
  return { answer: undefined, next: stands(line, id) ? { ...seen, line: gone } : undefined };
}

/** A counter of at least `token`. */
export function liftKey(kept: KeptKey | undefined, token: bigint, context: RecordContext): Step<bigint> {
  const { lock, counter, line } = keptNow(kept, context.now);
  const lifted = higherFence(counter, token);
  return { answer: lifted, next: written({ lock, counter: lifted, line }, context) };
}

/** Without its lock, kept for the first in line. */
function freed({ counter, line }: Pick<KeptKey, "counter" | "line">, context: RecordContext): KeptKey {
  return written({ lock: undefined, counter, line: advanced(line, context) }, context);
}

/** Kept for the retention from now on. Every field is named: a record that is spread out and added to costs ten times as much. */
function written(
  { lock, counter, line }: Pick<KeptKey, "lock" | "counter" | "line">,
  { now, retentionMs }: RecordContext,
): KeptKey {
  return { lock, counter, forgetAt: now.atMostMs + retentionMs, line };
}
