/**
 * M: no two leases of a key are held at once. A lease counts from the moment at which `acquire` had returned it until its
 * holder began to release it, was told that it is lost, died, or its validity ended by the holder's own clock.
 */
import { byKey, type History, type LeaseRecord, type Violation } from "../history.js";

/** Overlaps, also where they are only counted. */
export function overlaps(history: History): readonly Violation[] {
  const found: Violation[] = [];
  for (const [key, leases] of byKey(history.leases)) {
    let last: LeaseRecord | undefined;
    for (const lease of leases) {
      if (lease.heldUntilMs <= lease.acquiredMs) continue;
      if (last !== undefined && lease.acquiredMs < last.heldUntilMs) {
        const forMs = Math.min(last.heldUntilMs, lease.heldUntilMs) - lease.acquiredMs;
        found.push({
          checker: "exclusion",
          what: `${key} was held twice for ${forMs.toFixed(3)} ms: ${text(last)}, and ${text(lease)}`,
        });
      }
      if (last === undefined || lease.heldUntilMs > last.heldUntilMs) last = lease;
    }
  }
  return found;
}

/** Violations, where exclusion is promised. */
export function checkExclusion(history: History): readonly Violation[] {
  return history.judged.exclusion ? overlaps(history) : [];
}

function text({ lease, token, acquiredMs, heldUntilMs }: LeaseRecord): string {
  return `lease ${lease} with token ${token} from ${acquiredMs.toFixed(3)} to ${heldUntilMs.toFixed(3)} ms`;
}
