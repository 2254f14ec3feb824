/** The adoption once more, as stupidly as possible: a future is tried for every backend that has not answered. */
import type { LeaseSighting } from "../../../src/engine/adoption.js";

/** What was handed over. */
export interface TwinLease {
  readonly owner: string;
  readonly token: bigint;
  readonly quorum: number;
}

function vouching(seen: readonly (LeaseSighting | undefined)[], lease: TwinLease): readonly number[] {
  return seen.flatMap((each) =>
    each?.kind === "locked" && each.owner === lease.owner && each.counter === lease.token
      ? [each.remainingMs]
      : [],
  );
}

/** Surely not the lease's: no lock, another's, or somebody was granted more than its token since. */
function denying(seen: readonly (LeaseSighting | undefined)[], lease: TwinLease): number {
  let denied = 0;
  for (const each of seen) {
    if (each?.kind === "free") denied++;
    if (each?.kind === "locked" && (each.owner !== lease.owner || each.counter > lease.token)) denied++;
  }
  return denied;
}

/** Whether q could vouch if all that are silent did. */
function mayVouch(seen: readonly (LeaseSighting | undefined)[], lease: TwinLease): boolean {
  const best = seen.map(
    (each) => each ?? ({ kind: "locked", owner: lease.owner, counter: lease.token, remainingMs: 1 } as const),
  );
  return vouching(best, lease).length >= lease.quorum;
}

/** Whether the lease could have a quorum of locks, if all that did not tell had its lock. */
function mayLive(seen: readonly (LeaseSighting | undefined)[], lease: TwinLease): boolean {
  return seen.length - denying(seen, lease) >= lease.quorum;
}

export function twinAdoptionVerdict(
  seen: readonly (LeaseSighting | undefined)[],
  lease: TwinLease,
): { readonly kind: string; readonly remainingMs?: number } {
  if (!mayLive(seen, lease)) return { kind: "denied" };
  const remaining = vouching(seen, lease);
  if (remaining.length >= lease.quorum) {
    // Time passes until fewer than q are left.
    for (let ms = 0; ; ms++) {
      if (remaining.filter((each) => each > ms).length < lease.quorum)
        return { kind: "vouched", remainingMs: ms };
    }
  }
  return { kind: mayVouch(seen, lease) ? "pending" : "no-quorum" };
}
