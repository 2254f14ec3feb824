/**
 * The clock of a memcached process. It counts whole seconds of a monotonic clock and looks at it once a second, so that
 * what it shows may be nearly two seconds old, or older when the process stood still a moment ago.
 */
import type { ClockReading } from "../../engine/record.js";

/** What it showed. */
export interface Shown {
  /** Seconds since its process was started. */
  readonly uptime: number;
  /** The client's monotonic clock, before it was asked and after it had answered, in milliseconds. */
  readonly askedAt: number;
  readonly answeredAt: number;
}

const GRAIN_MS = 2_000;
/** By no more does a clock that works fall behind between two readings: it is looked at once a second. */
const STANDSTILL_MS = 1_000;

/** Between what the clock truly is; `before` is an earlier reading of the same process. */
export function readingOf(shown: Shown, before: Shown | undefined): ClockReading {
  const atLeastMs = shown.uptime * 1_000;
  if (before === undefined) return { atLeastMs, atMostMs: atLeastMs + GRAIN_MS };
  // A process that was stopped shows the time at which it was, until it looks at the clock again.
  const passedMs = shown.answeredAt - before.askedAt;
  const expectedMs = before.uptime * 1_000 + passedMs;
  const stoodStill = expectedMs - atLeastMs > STANDSTILL_MS;
  return { atLeastMs, atMostMs: (stoodStill ? Math.max(atLeastMs, expectedMs) : atLeastMs) + GRAIN_MS };
}
