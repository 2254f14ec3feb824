/**
 * Once a newer holder wrote through the guard, an older holder's write is refused. Which holder is newer is judged by
 * when they won, never by their tokens: a wrong token is a broken promise here too.
 */
import { leaseText, type History, type LeaseRecord, type Violation } from "../history.js";

export function checkStaleWrites(history: History): readonly Violation[] {
  const violations: Violation[] = [];
  const writers = new Map<string, LeaseRecord[]>();
  for (const { lease, accepted, atMs } of history.writes) {
    if (!accepted) continue;
    const before = writers.get(lease.key) ?? [];
    const newer = before.find((writer) => writer !== lease && writer.attemptAtMs >= lease.wonAtMs);
    if (newer !== undefined) {
      violations.push({
        checker: "stale writes",
        promise: "stale writes",
        what: `${lease.key} at ${atMs.toFixed(3)} ms: a write of ${leaseText(lease)} was accepted after one of ${leaseText(newer)}`,
      });
    }
    if (!before.includes(lease)) writers.set(lease.key, [...before, lease]);
  }
  return violations;
}
