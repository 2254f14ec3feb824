/**
 * Ends leases by the local clock, whatever the network does, and wakes those who want it earlier. One timer for all leases of a
 * locker, armed in slices: a sleeping timer does not notice a suspended machine, so it wakes often enough to look at the clocks.
 */
import { elapsedMs, type Instant, type System, type Timer } from "../engine/time.js";
import { createTimerWheel, type WheelEntry } from "./timer-wheel.js";

/** How long the watch sleeps at most, in milliseconds. */
export const SLICE_MS = 250;
/** How much before the end of validity a lease counts as over, in milliseconds: timers are late, losses must not be. */
export const LOSS_MARGIN_MS = 25;

/** What the watch ends. */
export interface Losable {
  /** When it is over unless it was extended; see {@link lossInstant}. */
  readonly lossAt: Instant;
  /** Called once the clock has passed it; the lease is no longer watched then. */
  expire(): void;
}

/** One lease under watch. */
export interface Watched extends WheelEntry {
  readonly lease: Losable;
}

/** Watches leases of one locker. */
export interface LossWatch<Entry extends Watched> {
  /** Watches a lease, and wakes it at the first whole millisecond from `wakeAt` on if it is not lost before. Again: another time. */
  watch(entry: Entry, wakeAt: Instant): void;
  remove(entry: Entry): void;
  /** All that are watched. */
  watched(): readonly Entry[];
  stop(): void;
}

/** The instant at which a lease that is valid until `validUntil` counts as over. */
export function lossInstant(validUntil: Instant, validityMs: number): Instant {
  return (validUntil - Math.min(LOSS_MARGIN_MS, validityMs / 10)) as Instant;
}

/** Watches nothing yet. `onAwake` hears of all that are woken at one time, the first one first; they are still watched. */
export function createLossWatch<Entry extends Watched>(
  system: System,
  onAwake: (awake: readonly Entry[]) => void,
): LossWatch<Entry> {
  const wheel = createTimerWheel<Entry>(Math.floor(system.now()));
  let timer: Timer | undefined;
  let firesAt = 0;

  function tick(): void {
    timer = undefined;
    const now = system.look();
    const lost: Entry[] = [];
    const awake: Entry[] = [];
    for (const entry of wheel.advance(Math.floor(now))) {
      if (now >= entry.lease.lossAt) lost.push(entry);
      else {
        wheel.insert(entry, Math.ceil(entry.lease.lossAt));
        awake.push(entry);
      }
    }
    const next = wheel.next();
    if (next !== undefined) arm(now, Math.min(SLICE_MS, next - now));
    // Only now, since whoever hears of a loss may do anything, such as to release other leases.
    for (const entry of lost) entry.lease.expire();
    if (awake.length > 0) onAwake(awake);
  }

  function arm(now: Instant, delayMs: number): void {
    if (timer !== undefined) system.cancelTimer(timer);
    firesAt = now + delayMs;
    timer = system.startTimer("watch", Math.max(0, delayMs), tick);
  }

  return {
    watch(entry: Entry, wakeAt: Instant): void {
      const now = system.now();
      const dueAt = Math.ceil(Math.min(wakeAt, entry.lease.lossAt));
      // Its hand stood still while there was nothing to watch.
      if (wheel.size() === 0) wheel.advance(Math.floor(now));
      wheel.insert(entry, dueAt);
      const delayMs = Math.min(SLICE_MS, dueAt - now);
      // A running timer fires within a slice, which is soon enough for most leases, and arming costs. When exactly is not
      // known to this clock after a suspend, so a lease that ends within the slice gets a timer of its own.
      if (timer === undefined) arm(now, delayMs);
      else if (delayMs < SLICE_MS) arm(now, Math.min(delayMs, elapsedMs(now, firesAt as Instant)));
    },
    remove(entry: Entry): void {
      wheel.remove(entry);
    },
    watched: () => wheel.entries(),
    stop(): void {
      for (const entry of wheel.entries()) wheel.remove(entry);
      if (timer !== undefined) system.cancelTimer(timer);
      timer = undefined;
    },
  };
}
