/** A job under a lease. */
import { LeaseLostError } from "../errors.js";
import type { HeldLease, Lease } from "./lease.js";

/**
 * Runs `job`, then releases the lease. Settles only after the job did: with its result, with its own error, or with
 * `LEASE_LOST`, which carries the result, when the lease was lost meanwhile.
 */
export async function runUnder<T>(lease: HeldLease, job: (lease: Lease) => T | Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await job(lease);
  } catch (error) {
    // Its own error says more than anything about the lock.
    await lease.release();
    throw error;
  }
  const lost = lossOf(lease, result);
  await lease.release();
  if (lost !== undefined) throw lost;
  return result;
}

/** What the holder does to a lease on purpose. */
const GIVEN_AWAY: ReadonlySet<string> = new Set<LeaseLostError["reason"]>(["released", "handed-over"]);

/** The error of a lease that was lost under its job; looks at the clocks first. */
function lossOf(lease: HeldLease, result: unknown): LeaseLostError | undefined {
  try {
    lease.assertHeld();
    return undefined;
  } catch (error) {
    if (error instanceof LeaseLostError && !GIVEN_AWAY.has(error.reason)) {
      return new LeaseLostError(lease, error.reason, { result });
    }
    return undefined;
  }
}
