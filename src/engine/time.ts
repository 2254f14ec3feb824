/**
 * Time as the engine sees it: instants of one process's monotonic clock, durations in milliseconds, and the
 * interface behind which the real clock, timers and randomness live.
 */

declare const instantBrand: unique symbol;

/**
 * A point on the monotonic clock of one process, in milliseconds with a fraction. Meaningless in another
 * process, and not comparable to wall time.
 */
export type Instant = number & { readonly [instantBrand]: true };

/** Reads a number of milliseconds on the monotonic clock as an instant. */
export function instant(ms: number): Instant {
  return ms as Instant;
}

/** The instant `ms` milliseconds after `from`. */
export function after(from: Instant, ms: number): Instant {
  return (from + ms) as Instant;
}

/** Milliseconds from `from` to `to`; negative when `to` is the earlier one. */
export function elapsedMs(from: Instant, to: Instant): number {
  return to - from;
}

/** The later of two instants. */
export function latest(a: Instant, b: Instant): Instant {
  return a > b ? a : b;
}

/** A started timer; only the {@link System} that made it can read it. */
export type Timer = object | number;

/**
 * What a timer is for: "work" keeps the process alive until it fires (somebody awaits it), "watch" does not.
 */
export type TimerPurpose = "work" | "watch";

/** Everything that is not pure: clocks, timers and randomness of one process. Simulations replace it whole. */
export interface System {
  /** The monotonic clock. Cheap; a suspend of the machine shows only at the next {@link System.look}. */
  now(): Instant;
  /**
   * The clock by which decisions about a lease are taken: never behind {@link System.now}, and ahead of it by the
   * time that the machine was suspended. Costs a few microseconds.
   */
  look(): Instant;
  /** The wall clock in milliseconds since 1970. For people; no decision about a lease goes by it. */
  wallMs(): number;
  /** A fresh proposal for a token: microseconds of the wall clock, strictly increasing in this process. */
  propose(): bigint;
  /** Uniform in [0, 1). Used for pauses only, never for owners. */
  random(): number;
  /** 128 fresh random bits as text, from a cryptographic source. */
  newOwner(): string;
  /** Runs `run` once after about `delayMs`. */
  startTimer(purpose: TimerPurpose, delayMs: number, run: () => void): Timer;
  /** Forgets a timer; harmless when it has fired. */
  cancelTimer(timer: Timer): void;
}
