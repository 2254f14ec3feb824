/**
 * One key under the locks of two quorums at once, for the time in which keys move from one to the other. Processes that take
 * both exclude those that take only the old one, and those that take only the new one; so the three kinds may follow upon
 * each other without a stop, as the joint configuration of Raft does for a change of members.
 */
import { InvalidOptionError } from "../errors.js";
import type { Lease } from "../lock/lease.js";
import type { Locker } from "../lock/locker.js";
import type { AcquireOptions } from "../options.js";

/** Where a key is, and where it goes. */
export interface BothLocks {
  /** The locker of its shard by the list of before. */
  readonly from: Locker;
  /** By the list of afterwards. The same locker as `from` where the key does not move: then there is one lock. */
  readonly to: Locker;
  /** For each of the two locks: the wait for both may take twice `waitMs`. */
  readonly options?: AcquireOptions;
}

/** A key held on both quorums, or on the one that it has. */
export interface BothLease extends Pick<Lease, "key" | "token" | "signal" | "remainingMs" | "assertHeld"> {}

/**
 * Runs `job` under the lock of `key` on both quorums, first `from`, then `to`; as {@link Locker.withLock} otherwise. The
 * lease is over when either is. Its token is larger than that of every lease of the key won before on either quorum, and
 * both are told (a `lift` of the lower counter, which counts as an operator's act in events and logs), so that every later token of either is larger
 * still. Rejects as `withLock` does, and with `NO_QUORUM` when too few backends could be told.
 *
 * It excludes processes that use `from` alone and processes that use `to` alone. It does not make those two exclude each
 * other: the last of the first kind must be gone for twice `clockSkewMs` before the first of the other kind starts, and its
 * leases must be over (`docs/scaling.md`).
 *
 * @example
 * ```ts
 * import { createLocker, createShards, withBothLocks } from "quorum-lock";
 * import { memory } from "quorum-lock/memory";
 *
 * const open = () => createLocker({ backends: [memory(), memory(), memory()] });
 * const two = [
 *   { name: "locks-1", locker: open() },
 *   { name: "locks-2", locker: open() },
 * ];
 * const before = createShards(two);
 * const after = createShards([...two, { name: "locks-3", locker: open() }]);
 *
 * const key = "invoice:42";
 * const both = { from: before.shardFor(key).locker, to: after.shardFor(key).locker };
 * await withBothLocks(both, key, (lease) => console.log(lease.token));
 * await Promise.all(after.all.map(({ locker }) => locker.close()));
 * ```
 */
export function withBothLocks<T>(
  both: BothLocks,
  key: string,
  job: (lease: BothLease) => T | Promise<T>,
): Promise<T> {
  const { from, to, options = {} } = both;
  checkLocker("from", from);
  checkLocker("to", to);
  if (typeof job !== "function") throw new InvalidOptionError("job", "a function", job);
  if (from === to) return from.withLock(key, options, job);
  return from.withLock(key, options, (older) =>
    to.withLock(key, options, async (newer) => {
      const token = older.token > newer.token ? older.token : newer.token;
      if (older.token < token) await from.lift(key, token);
      if (newer.token < token) await to.lift(key, token);
      const lease = joined(older, newer, token);
      // Whoever came meanwhile, when one was lost, was given its token before the lift.
      lease.assertHeld();
      return job(lease);
    }),
  );
}

function joined(older: Lease, newer: Lease, token: bigint): BothLease {
  let signal: AbortSignal | undefined;
  return {
    key: older.key,
    token,
    get signal(): AbortSignal {
      signal ??= AbortSignal.any([older.signal, newer.signal]);
      return signal;
    },
    get remainingMs(): number {
      return Math.min(older.remainingMs, newer.remainingMs);
    },
    assertHeld(forMs?: number): void {
      older.assertHeld(forMs);
      newer.assertHeld(forMs);
    },
  };
}

function checkLocker(option: string, locker: Locker): void {
  if (typeof locker?.withLock !== "function" || typeof locker.lift !== "function") {
    throw new InvalidOptionError(`withBothLocks({ ${option} })`, "a locker", locker);
  }
}
