/**
 * How long a lease may be used. Counted from before the first request was sent, shortened by what clocks may
 * disagree on, so that while it lasts every backend that granted still holds the lock.
 */

/** What is known about the clocks of one deployment. */
export interface ClockBounds {
  /** How much faster or slower than true time any one clock may run, in parts per million; on each side. */
  readonly driftPpm: number;
  /** How early a backend's record may end by that backend's own clock, in milliseconds; the worst of the set. */
  readonly earlyByMs: number;
  /** The grain of the local clock in milliseconds. */
  readonly grainMs: number;
}

const MILLION = 1e6;

/**
 * How long a lease of `ttlMs` may be used after the instant before its first request, by the local clock:
 * `(ttl - earlyBy) * (1 - rho) / (1 + rho) - grain`. Never negative. A backend's clock that runs fast by rho ends the
 * record after `(ttl - earlyBy) / (1 + rho)` of true time, in which a local clock that runs slow by rho shows
 * `(1 - rho)` of it.
 */
export function validityMs(ttlMs: number, bounds: ClockBounds): number {
  const rho = bounds.driftPpm / MILLION;
  const ms = ((ttlMs - bounds.earlyByMs) * (1 - rho)) / (1 + rho) - bounds.grainMs;
  return ms > 0 ? ms : 0;
}

/** What decides how long a backend that may have forgotten locks stays out of the vote. */
export interface QuarantineBounds {
  /** The longest TTL that any client of the deployment may ask for. */
  readonly maxTtlMs: number;
  /** The largest difference between any two wall clocks of the deployment. */
  readonly clockSkewMs: number;
  /** As in {@link ClockBounds}. */
  readonly driftPpm: number;
  /** How late a backend's record may end by its own clock, in milliseconds; the worst of the set. */
  readonly lateByMs: number;
}

/**
 * How long a backend with a new memory does not vote, by its own clock: the longest lock that it may have forgotten,
 * stretched by the drift of both sides, two clock skews for the order of tokens, and the grains.
 */
export function quarantineMs(bounds: QuarantineBounds): number {
  const rho = bounds.driftPpm / MILLION;
  const grains = bounds.lateByMs + 2;
  return Math.ceil((bounds.maxTtlMs * (1 + rho)) / (1 - rho) + 2 * bounds.clockSkewMs + grains);
}
