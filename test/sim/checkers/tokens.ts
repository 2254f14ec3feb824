/**
 * Uniqueness: no token is issued twice for a key, and a lease whose attempt began after another was won has the larger
 * token. Order: a lease won later has the larger token. Uniqueness needs no clock as long as no memory is lost; with
 * losses, both need wall clocks that agree.
 */
import {
  isHeldAt,
  leaseText,
  type History,
  type LeaseRecord,
  type Promised,
  type Violation,
} from "../history.js";

export function checkTokens(history: History): readonly Violation[] {
  const { memoryKept, wallClocksAgree, expiryByClock, somethingRemembers } = history.assumptions;
  const violations: Violation[] = [];
  const byTime = [...history.leases].sort((a, b) => a.wonAtMs - b.wonAtMs || a.id - b.id);
  byTime.forEach((lease, i) => {
    for (const before of byTime.slice(0, i)) {
      if (before.key !== lease.key) continue;
      // Where counters were forgotten only wall clocks keep tokens apart.
      const unclocked: Promised = memoryKept ? "uniqueness" : "order";
      // Whoever adopts a lease has its token; two holders of one lease are seen by exclusion.
      if (before.token === lease.token && lease.adopted) continue;
      if (before.token === lease.token) {
        violations.push(violation(unclocked, "the same token twice", [before, lease]));
      } else if (lease.token > before.token) continue;
      else if (lease.attemptAtMs >= before.wonAtMs) {
        violations.push(
          violation(unclocked, "a lower token, though its attempt began later", [before, lease]),
        );
      } else if (
        expiryByClock &&
        // Where two may hold at once, the one that won first may say so later.
        somethingRemembers &&
        (memoryKept || wallClocksAgree) &&
        isHeldAt(history, lease, lease.wonAtMs)
      ) {
        violations.push(violation("order", "a lower token, though it was won later", [before, lease]));
      }
    }
  });
  return violations;
}

function violation(
  promise: Promised,
  what: string,
  [before, lease]: readonly [LeaseRecord, LeaseRecord],
): Violation {
  return {
    checker: "tokens",
    promise,
    what: `${lease.key}: ${what}: ${leaseText(before)}, then ${leaseText(lease)}`,
  };
}
