/**
 * Ends leases by the local clock, whatever the network does. One timer for all leases of a locker, armed in slices: a
 * sleeping timer does not notice a suspended machine, so it wakes often enough to look at the clocks.
 */
import { elapsedMs, type Instant, type System, type Timer } from "../engine/time.js";

/** How long the watch sleeps at most, in milliseconds. */
export const SLICE_MS = 250;
/** How much before the end of validity a lease counts as over, in milliseconds: timers are late, losses must not be. */
export const LOSS_MARGIN_MS = 25;

/** What the watch watches. */
export interface Watched {
  /** When it is over unless it was extended; see {@link lossInstant}. */
  readonly lossAt: Instant;
  /** Called once the clock has passed it; the lease is no longer watched then. */
  expire(): void;
}

/** Watches leases of one locker. */
export interface LossWatch {
  add(lease: Watched): void;
  remove(lease: Watched): void;
  stop(): void;
}

/** The instant at which a lease that is valid until `validUntil` counts as over. */
export function lossInstant(validUntil: Instant, validityMs: number): Instant {
  return (validUntil - Math.min(LOSS_MARGIN_MS, validityMs / 10)) as Instant;
}

/** Watches nothing yet. */
export function createLossWatch(system: System): LossWatch {
  const leases = new Set<Watched>();
  let timer: Timer | undefined;
  let firesAt = 0;

  function tick(): void {
    timer = undefined;
    const now = system.look();
    for (const lease of leases) {
      if (now < lease.lossAt) continue;
      leases.delete(lease);
      lease.expire();
    }
    let delayMs = SLICE_MS;
    for (const lease of leases) delayMs = Math.min(delayMs, elapsedMs(now, lease.lossAt));
    if (leases.size > 0) arm(now, delayMs);
  }

  function arm(now: Instant, delayMs: number): void {
    if (timer !== undefined) system.cancelTimer(timer);
    firesAt = now + delayMs;
    timer = system.startTimer("watch", Math.max(0, delayMs), tick);
  }

  return {
    add(lease: Watched): void {
      leases.add(lease);
      const now = system.now();
      const delayMs = Math.min(SLICE_MS, elapsedMs(now, lease.lossAt));
      // A running timer fires within a slice, which is soon enough for most leases, and arming costs. When exactly is not
      // known to this clock after a suspend, so a lease that ends within the slice gets a timer of its own.
      if (timer === undefined) arm(now, delayMs);
      else if (delayMs < SLICE_MS) arm(now, Math.min(delayMs, firesAt - now));
    },
    remove(lease: Watched): void {
      leases.delete(lease);
    },
    stop(): void {
      leases.clear();
      if (timer !== undefined) system.cancelTimer(timer);
      timer = undefined;
    },
  };
}
