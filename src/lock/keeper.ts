/**
 * Keeps the leases of one locker: has each watched to its end, and extends those that are to be kept (engine/renewal.ts says
 * when). However many there are, they share the timer of the watch; what is due together is sent in one turn, so that an adapter
 * may put it into one call, and in bounded portions, so that neither a server nor the event loop meets a herd.
 */
import { renewalDelayMs } from "../engine/renewal.js";
import { requestDeadlineMs } from "../engine/schedule.js";
import { after, elapsedMs, instant, type Instant, type System, type Timer } from "../engine/time.js";
import { validityMs, type ClockBounds } from "../engine/validity.js";
import type { ExtensionOutcome } from "./extend.js";
import { createLossWatch, type Losable, type Watched } from "./loss-watch.js";

/** What the keeper extends. */
export interface Extendable extends Losable {
  readonly validUntil: Instant;
  /** Runs one extension round, after the one that may be in flight. `now`: a look at the clock before the call. Never rejects. */
  extendOnce(ttlMs: number, now?: Instant): Promise<ExtensionOutcome>;
}

/** A lease, as the keeper notes it. The keeper's own. */
export interface Kept<Lease extends Extendable = Extendable> extends Watched {
  readonly lease: Lease;
  /** Extended to so much; 0 when it is not, but watched only. */
  readonly ttlMs: number;
  /** Extensions that failed since the last one that succeeded. */
  failures: number;
  /** Its extension is due, or in flight. */
  extending: boolean;
  over: boolean;
}

/** Keeps the leases of one locker. */
export interface Keeper<Lease extends Extendable = Extendable> {
  /** Watches `lease`, and extends it to `ttlMs` again and again, until it is dropped; 0: watches it only. */
  hold(lease: Lease, ttlMs: number): Kept<Lease>;
  /** The lease is over. An extension in flight goes on. */
  drop(kept: Kept<Lease>): void;
  /** All that are held. */
  held(): readonly Lease[];
  stop(): void;
}

/** What a keeper needs of its locker. */
export interface KeeperContext {
  readonly system: System;
  readonly clockBounds: ClockBounds;
}

/** So many extensions in one turn: one or two calls of an adapter, and a few milliseconds of work for this process. */
export const EXTENSIONS_AT_ONCE = 100;
/** What is due beyond that waits for so long, in milliseconds: what has arrived meanwhile is read. */
const PAUSE_MS = 1;
/**
 * So many may be unanswered, at least and at most. One more than before for every extension that succeeded in a quarter of its
 * deadline, one fewer for every one that took longer: slow servers get no queue in which every extension outlives its deadline,
 * and those that are far away, or starved of processor time but keep up, are not held back.
 */
export const UNANSWERED: { readonly min: number; readonly max: number } = { min: 1_000, max: 8_000 };
const QUICK = 1 / 4;
/** Extensions are gathered into buckets of so many milliseconds at most, each at its beginning. */
const BUCKET_MS_MAX = 32;
/** A bucket is at most so small a part of the pause that ends in it. */
const BUCKETS_IN_PAUSE = 64;

/** Holds nothing yet. */
export function createKeeper<Lease extends Extendable>({
  system,
  clockBounds,
}: KeeperContext): Keeper<Lease> {
  const watch = createLossWatch<Kept<Lease>>(system, onAwake);
  /** Whose extension is to be sent, the first one first. Those that are over by then are passed over. */
  let due: Kept<Lease>[] = [];
  let unanswered = 0;
  let unansweredMax = UNANSWERED.min;
  let pause: Timer | undefined;
  /** When the pause began. */
  let pausedAt: Instant | undefined;

  function onAwake(awake: readonly Kept<Lease>[]): void {
    for (const kept of awake) {
      // Whoever is watched only woke since its end has moved.
      if (kept.ttlMs === 0 || kept.extending) continue;
      kept.extending = true;
      due.push(kept);
    }
    if (pause === undefined) send();
  }

  function send(): void {
    if (due.length === 0) return;
    // One look for all: a validity that counts from a little earlier is only shorter.
    const now = system.look();
    const most = portion(now);
    let passed = 0;
    let sent = 0;
    for (const kept of due) {
      if (sent === most || unanswered >= unansweredMax) break;
      passed++;
      if (kept.over) continue;
      sent++;
      extend(kept, now);
    }
    due = due.slice(passed);
    sendSoon();
  }

  /** More, when it comes late to it: a busy process, whose turns are long, must not fall behind. */
  function portion(now: Instant): number {
    const pauses = pausedAt === undefined ? 1 : Math.floor(elapsedMs(pausedAt, now) / PAUSE_MS);
    pausedAt = undefined;
    return EXTENSIONS_AT_ONCE * Math.max(1, pauses);
  }

  function sendSoon(): void {
    if (due.length === 0 || pause !== undefined) return;
    // A whole portion again, and not one for each that was answered: a call is worth while for many.
    if (unanswered + EXTENSIONS_AT_ONCE > unansweredMax) return;
    pausedAt = system.now();
    pause = system.startTimer("watch", PAUSE_MS, () => {
      pause = undefined;
      send();
    });
  }

  function extend(kept: Kept<Lease>, now: Instant): void {
    unanswered++;
    void kept.lease.extendOnce(kept.ttlMs, now).then((outcome) => {
      unanswered--;
      const quick = elapsedMs(now, system.now()) <= QUICK * requestDeadlineMs(kept.ttlMs);
      // What is refused at once, since nobody can be reached, says nothing of how quick those are who will be.
      if (!quick || outcome.kind === "extended") adapt(quick);
      sendSoon();
      kept.extending = false;
      if (kept.over) return;
      kept.failures = outcome.kind === "extended" ? 0 : kept.failures + 1;
      schedule(kept);
    });
  }

  function adapt(quick: boolean): void {
    const wanted = unansweredMax + (quick ? 1 : -1);
    unansweredMax = Math.min(Math.max(wanted, UNANSWERED.min), UNANSWERED.max);
  }

  function schedule(kept: Kept<Lease>): void {
    const now = system.now();
    const remainingMs = elapsedMs(now, kept.lease.validUntil);
    const wholeMs = validityMs(kept.ttlMs, clockBounds);
    const { failures } = kept;
    const delayMs = renewalDelayMs({ remainingMs, validityMs: wholeMs, failures }, system.random());
    watch.watch(kept, bucketOf(after(now, delayMs), delayMs));
  }

  return {
    hold(lease: Lease, ttlMs: number): Kept<Lease> {
      const kept: Kept<Lease> = {
        dueAt: 0,
        before: undefined,
        behind: undefined,
        lease,
        ttlMs,
        failures: 0,
        extending: false,
        over: false,
      };
      if (ttlMs > 0) schedule(kept);
      else watch.watch(kept, lease.lossAt);
      return kept;
    },
    drop(kept: Kept<Lease>): void {
      kept.over = true;
      watch.remove(kept);
    },
    held: () => watch.watched().map(({ lease }) => lease),
    stop(): void {
      watch.stop();
      due = [];
      if (pause !== undefined) system.cancelTimer(pause);
      pause = undefined;
    },
  };
}

/** The beginning of the bucket that `at` falls into, which is not earlier by more than a small part of the pause before it. */
function bucketOf(at: Instant, delayMs: number): Instant {
  const widthMs = Math.max(1, Math.min(BUCKET_MS_MAX, Math.floor(delayMs / BUCKETS_IN_PAUSE)));
  return instant(Math.floor(at / widthMs) * widthMs);
}
