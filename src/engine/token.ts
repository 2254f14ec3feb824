/**
 * The arithmetic of fencing tokens. A backend mints `max(F + 1, P')`, where F is its counter of the key and P' the
 * client's proposal, clamped into the backend's own view of the time. Equal proposals make backends mint the same
 * number in one round trip; counters make it right when clocks are wrong.
 */

/**
 * The largest number a counter may reach. Lua and JavaScript count in doubles, where 2^53 + 1 = 2^53: one step
 * further the same token could be issued twice.
 */
export const MAX_FENCE: bigint = 2n ** 53n - 2n;

/** Half-width of the window around a backend's clock into which proposals are clamped, in microseconds. */
export function skewMicros(clockSkewMs: number): bigint {
  return BigInt(Math.round(clockSkewMs * 1000));
}

/**
 * The next proposal of a process: a hybrid of wall time in microseconds and a counter, strictly increasing.
 * Undefined when the clock is so far off that it would leave the range in which doubles count.
 */
export function nextProposal(last: bigint, wallMicros: bigint): bigint | undefined {
  const next = wallMicros > last ? wallMicros : last + 1n;
  return next < MAX_FENCE ? next : undefined;
}

/** `proposal`, moved to the nearer end of [now - skew, now + skew] when it lies outside. All in microseconds. */
export function clampProposal(proposal: bigint, nowMicros: bigint, skew: bigint): bigint {
  const lowest = nowMicros - skew;
  const highest = nowMicros + skew;
  if (proposal < lowest) return lowest;
  return proposal > highest ? highest : proposal;
}

/** What a backend mints for a new grant, and its new counter; undefined when it may not count any further. */
export function mintFence(counter: bigint, proposal: bigint): bigint | undefined {
  const fence = proposal > counter ? proposal : counter + 1n;
  // It is above the counter in any case: a full one ends here too.
  return fence <= MAX_FENCE ? fence : undefined;
}

/** The larger of two fences. */
export function higherFence(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
