/**
 * At most one valid lease per key at any instant of true time. Of two leases that are valid together one begins, or is
 * extended, while the other is valid, so it is enough to look at these moments: nothing is sampled.
 */
import { isHeldAt, leaseText, type History, type Violation } from "../history.js";

export function checkExclusion(history: History): readonly Violation[] {
  const violations: Violation[] = [];
  for (const lease of history.leases) {
    for (const { setAtMs } of lease.ends) {
      if (!isHeldAt(history, lease, setAtMs)) continue;
      for (const other of history.leases) {
        if (other === lease || other.key !== lease.key || other.wonAtMs > setAtMs) continue;
        if (!isHeldAt(history, other, setAtMs)) continue;
        const what = `${lease.key} at ${setAtMs.toFixed(3)} ms: ${leaseText(lease)}, while ${leaseText(other)} was valid`;
        violations.push({ checker: "exclusion", promise: "exclusion", what });
      }
    }
  }
  return violations;
}
