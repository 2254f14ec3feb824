/** What happened in one simulated world, by true time. The checkers read nothing else. */
import type { Instant } from "../../src/engine/time.js";

/** The assumptions of the protocol under which a world runs; they decide which rules of a promise apply. */
export interface Assumptions {
  /** No backend lost its memory: tokens are ordered whatever the clocks do. */
  readonly memoryKept: boolean;
  /** Wall clocks of backends agree within clockSkewMs; they hold the proposals of clients in bounds. */
  readonly wallClocksAgree: boolean;
  /** Locks end by clocks within the drift, and not at arbitrary moments. */
  readonly expiryByClock: boolean;
  /** At every loss of memory another backend remembered, so that no deployment was started over the heads of holders. */
  readonly somethingRemembers: boolean;
  /** Nothing goes wrong that could cost a waiter its turn. */
  readonly calm: boolean;
}

/** When a lease got an end. */
export interface EndRecord {
  readonly setAtMs: number;
  /** By the clock of its holder. */
  readonly validUntil: Instant;
  /** When the extension began that gave it, in true time; undefined for the first end. */
  readonly sentAtMs?: number | undefined;
  /** It came when the end before it had passed, in a process that had run all the time in between. */
  readonly behindOldEnd?: boolean;
}

/** One lease, from the moment at which its process has it. */
export interface LeaseRecord {
  readonly id: number;
  readonly client: string;
  readonly key: string;
  readonly owner: string;
  readonly token: bigint;
  readonly wonAtMs: number;
  /** When the attempt that won it began. */
  readonly attemptAtMs: number;
  /** Taken over from another process: it has the token of a lease before it. */
  readonly adopted: boolean;
  /** The ends that it had, the first one first. */
  readonly ends: EndRecord[];
  /** What the clock shows by which its process judges it, at a point of true time. */
  readonly lookAt: (trueMs: number) => Instant;
  /** When its process gave it up, lost it, or died. */
  overAtMs: number;
}

/** A write that reached the resource, and whether the guard let it pass. */
export interface WriteRecord {
  readonly atMs: number;
  readonly lease: LeaseRecord;
  readonly accepted: boolean;
}

/** The signal of a lease aborted because it expired, in a process that had not been disturbed. */
export interface LossRecord {
  readonly atMs: number;
  readonly lease: LeaseRecord;
  /** How much validity was left at that moment, by the clock of the holder; negative when it was too late. */
  readonly remainingMs: number;
}

/** A lease said that it was held, though its validity had ended. */
export interface OverstatedRecord {
  readonly atMs: number;
  readonly lease: LeaseRecord;
  /** What it said was left. */
  readonly remainingMs: number;
}

/** At the end all faults but those of a minority were over, nobody held, and somebody tried. */
export interface LastAcquireRecord {
  readonly key: string;
  readonly waitedMs: number;
  readonly boundMs: number;
  /** Undefined when it got the lock. */
  readonly error: string | undefined;
}

/** An operator deleted a lock everywhere. */
export interface ForcedRecord {
  readonly key: string;
  /** When it was ordered. */
  readonly atMs: number;
  /** When the last backend had done it; undefined while one has not. */
  doneAtMs: number | undefined;
}

/** What a backend did that concerns the line of a key, in the order in which it did it. */
export type LineRecord = {
  readonly atMs: number;
  /** What the backend remembers by: another memory knows nothing of the line. */
  readonly memory: string;
} & (
  | {
      readonly kind: "asked";
      readonly key: string;
      /** The connection and ticket; undefined for somebody who does not stand in line. */
      readonly who: string | undefined;
      readonly since: bigint;
      readonly waitsMs: number;
      /** "reserved": held, since it is kept for somebody else. */
      readonly answer: "granted" | "held" | "reserved";
      readonly remainingMs: number;
    }
  /** Its lock was taken away: given back, or by an operator. */
  | {
      readonly kind: "freed";
      readonly key: string;
      /** Whose ticket was given back with it, to be in line before the next one is called. */
      readonly back?: { readonly who: string; readonly since: bigint; readonly waitsMs: number };
    }
  | { readonly kind: "left"; readonly key: string; readonly who: string }
  /** An extension created a lock anew. */
  | { readonly kind: "recreated"; readonly key: string }
  | { readonly kind: "called"; readonly who: string; readonly inMs: number }
);

/** One waiter that stood in line on backends. */
export interface WaiterRecord {
  /** Its locker and ticket. */
  readonly name: string;
  readonly key: string;
  readonly since: bigint;
  /** When its first attempt with a ticket began. */
  readonly askedAtMs: number;
  /** Since when it stands in line, by the memory of a backend. */
  readonly stoodAtMs: Map<string, number>;
  /** Of its attempts. */
  readonly owners: string[];
  /** When it gave up its places, having won or not. */
  goneAtMs: number;
}

/** A waiter heard that its turn had come, in a process that was not disturbed from then on until it tried. */
export interface WakeRecord {
  readonly waiter: string;
  readonly calledAtMs: number;
  /** When it tried or gave up; or the end of the world. */
  readonly triedAtMs: number;
}

/** The bounds within which the lines of a world can be judged. */
export interface LineBounds {
  readonly driftPpm: number;
  /** The coarsest clock of a backend shows steps of this. */
  readonly grainMs: number;
  /** The longest that an attempt may take. */
  readonly attemptMs: number;
  /** How many backends call those who wait. */
  readonly backends: number;
  /** The longest that a key may be nobody's while somebody waits for it; undefined where that is not judged. */
  readonly idleMsMax: number | undefined;
  /** When what was wrong in the world ended, and with it what is judged of lines. */
  readonly endedAtMs: number;
}

/** One world's history. */
export interface History {
  readonly seed: number;
  readonly assumptions: Assumptions;
  readonly lineBounds: LineBounds;
  readonly line: readonly LineRecord[];
  readonly waiters: readonly WaiterRecord[];
  readonly wakes: readonly WakeRecord[];
  readonly leases: readonly LeaseRecord[];
  readonly writes: readonly WriteRecord[];
  readonly losses: readonly LossRecord[];
  /** Leases whose validity ended long ago, in a process that had not been disturbed, without a signal. */
  readonly silentLosses: readonly LeaseRecord[];
  readonly overstated: readonly OverstatedRecord[];
  readonly forced: readonly ForcedRecord[];
  /** When a backend last granted an acquire, late ones and duplicates included, by its owner. */
  readonly grants: ReadonlyMap<string, number>;
  readonly lastAcquires: readonly LastAcquireRecord[];
  /** What was left over after everybody had gone, in one sentence each. */
  readonly leaks: readonly string[];
}

/** What is promised; `docs/guarantees.md` says it at length. */
export type Promised =
  | "exclusion"
  | "order"
  | "uniqueness"
  | "stale writes"
  | "no resurrection"
  | "loss signal"
  | "progress"
  | "waiting in line"
  | "no leaks";

/** What a checker found, in one sentence. */
export interface Violation {
  readonly checker: string;
  readonly promise: Promised;
  readonly what: string;
}

/** The end that a lease had at a point of true time; undefined before it was won. */
export function endAt(lease: LeaseRecord, trueMs: number): Instant | undefined {
  return lease.ends.findLast(({ setAtMs }) => setAtMs <= trueMs)?.validUntil;
}

/** Whether its process may use the lease at a point of true time. */
export function isValidAt(lease: LeaseRecord, trueMs: number): boolean {
  const end = endAt(lease, trueMs);
  return end !== undefined && trueMs < lease.overAtMs && lease.lookAt(trueMs) < end;
}

/** Whether it is valid, and no operator took it away: its holder is not told of that at once, and is believed no more. */
export function isHeldAt(history: History, lease: LeaseRecord, trueMs: number): boolean {
  if (!isValidAt(lease, trueMs)) return false;
  return !history.forced.some(
    ({ key, atMs, doneAtMs }) =>
      key === lease.key && atMs <= trueMs && (doneAtMs === undefined || doneAtMs >= lease.attemptAtMs),
  );
}

/** A lease in words. */
export function leaseText({ id, client, token, wonAtMs }: LeaseRecord): string {
  return `lease ${id} of ${client} with token ${token}, won at ${wonAtMs.toFixed(3)} ms`;
}
