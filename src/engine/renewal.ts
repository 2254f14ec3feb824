/** When the keeper extends a lease next. */

/** Where a kept lease stands. */
export interface RenewalState {
  /** Until the end of validity, by the local clock. */
  readonly remainingMs: number;
  /** The whole validity that a successful extension gives. */
  readonly validityMs: number;
  /** Extensions that failed since the last one that succeeded. */
  readonly failures: number;
}

const EXTEND_AFTER = 1 / 3;
const JITTER = 1 / 20;
/** A failing extension is repeated at most this often in one validity, whatever else happens. */
const TRIES_MAX = 20;

/**
 * The pause before the next extension, in milliseconds: after a third of the validity when all is well, a little
 * earlier at random so that many leases spread out; after a failure, a quarter of what remains. The pause never falls
 * below a twentieth of the validity, so that a failing backend meets a bounded number of requests.
 * `random` is uniform in [0, 1).
 */
export function renewalDelayMs(state: RenewalState, random: number): number {
  const shortest = state.validityMs / TRIES_MAX;
  const spread = random * JITTER * state.validityMs;
  const planned =
    state.failures === 0
      ? state.remainingMs - (1 - EXTEND_AFTER) * state.validityMs - spread
      : state.remainingMs / 4 - spread / 4;
  return Math.max(planned, shortest);
}
