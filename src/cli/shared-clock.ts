/**
 * Instants that every process of this machine reads alike, until its next boot: how quorum-lock tells its watcher a
 * deadline. `process.hrtime` is CLOCK_MONOTONIC, which is common to all processes but stands still while the machine is
 * suspended; `os.uptime()` does not stand still on Linux. Whichever is further ahead counts.
 */
import { uptime } from "node:os";

/** A point on both clocks, in milliseconds. */
export interface SharedInstant {
  readonly monotonicMs: number;
  readonly bootMs: number;
}

/** The two clocks. */
export interface SharedClocks {
  monotonicMs(): number;
  bootMs(): number;
}

const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** The clocks of this machine. Elsewhere than on Linux `os.uptime()` follows the wall clock, and is not used. */
export const SHARED_CLOCKS: SharedClocks = {
  monotonicMs,
  bootMs: process.platform === "linux" ? () => uptime() * 1000 : monotonicMs,
};

/** The boot clock is rounded down to this on Linux. Taken off at each reading, so that errors are on the early side. */
const BOOT_GRAIN_MS = 10;

/** The instant `ms` milliseconds from now; up to one grain early. */
export function instantIn(ms: number, clocks: SharedClocks = SHARED_CLOCKS): SharedInstant {
  return { monotonicMs: clocks.monotonicMs() + ms, bootMs: clocks.bootMs() + ms };
}

/** Milliseconds until an instant, negative when it has passed; up to two grains early, never late. */
export function msUntil(instant: SharedInstant, clocks: SharedClocks = SHARED_CLOCKS): number {
  return Math.min(
    instant.monotonicMs - clocks.monotonicMs(),
    instant.bootMs - clocks.bootMs() - BOOT_GRAIN_MS,
  );
}

/** The instant `ms` milliseconds before another. */
export function before(instant: SharedInstant, ms: number): SharedInstant {
  return { monotonicMs: instant.monotonicMs - ms, bootMs: instant.bootMs - ms };
}

/** The earlier of two instants, on each clock. */
export function earlier(a: SharedInstant, b: SharedInstant): SharedInstant {
  return { monotonicMs: Math.min(a.monotonicMs, b.monotonicMs), bootMs: Math.min(a.bootMs, b.bootMs) };
}
