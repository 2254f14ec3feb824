/** When to try again, and how long to wait for one answer. */

/** Bounds of the pause between two attempts, in milliseconds. */
export interface RetryBounds {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
}

/**
 * The pause before attempt number `attempts + 1`, in milliseconds: uniform between the lower bound and an upper bound
 * that doubles with every attempt. Random pauses are what lets one of several contenders win after a split vote.
 * `random` is uniform in [0, 1).
 */
export function retryDelayMs(attempts: number, bounds: RetryBounds, random: number): number {
  const doublings = Math.min(attempts, 30);
  const ceiling = Math.min(bounds.delayMsMax, bounds.delayMsMin * 2 ** doublings);
  return bounds.delayMsMin + random * Math.max(0, ceiling - bounds.delayMsMin);
}

/** No request waits longer than this, however long the TTL. */
export const REQUEST_DEADLINE_MS_MAX = 2_000;

/**
 * How long one backend may take to answer before it counts as a fault: a fifth of the TTL, at most
 * {@link REQUEST_DEADLINE_MS_MAX}. A round with a hung backend then still leaves most of the TTL to the holder.
 */
export function requestDeadlineMs(ttlMs: number): number {
  return Math.min(ttlMs / 5, REQUEST_DEADLINE_MS_MAX);
}
