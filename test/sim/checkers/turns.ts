/**
 * First come, first served where nothing goes wrong: whoever stands in line on all backends is not passed again and again by
 * those who came later.
 */
import type { History, LeaseRecord, Violation, WaiterRecord } from "../history.js";

/** So often may a waiter be passed: by whoever asks in the moment in which a key is free, and by a split vote. */
const PASSED_MAX = 3;

export function checkTurns(history: History): readonly Violation[] {
  if (!history.assumptions.calm) return [];
  const waiterOf = new Map(
    history.waiters.flatMap((waiter) => waiter.owners.map((owner) => [owner, waiter])),
  );
  const beganAtMs = (lease: LeaseRecord): number => waiterOf.get(lease.owner)?.askedAtMs ?? lease.attemptAtMs;
  const violations: Violation[] = [];
  for (const waiter of history.waiters) {
    const stoodAtMs = standsFrom(waiter, history.lineBounds.backends);
    if (stoodAtMs === undefined) continue;
    const passed = history.leases.filter(
      (lease) =>
        lease.key === waiter.key &&
        beganAtMs(lease) > stoodAtMs &&
        lease.wonAtMs < waiter.goneAtMs &&
        !waiter.owners.includes(lease.owner) &&
        !lease.adopted,
    );
    if (passed.length <= PASSED_MAX) continue;
    violations.push({
      checker: "turns",
      promise: "waiting in line",
      what: `waiter ${waiter.name} of ${waiter.key} stood in line on all backends from ${stoodAtMs.toFixed(3)} ms, and ${passed.length} who came later went first`,
    });
  }
  return violations;
}

/** When it stood on all of them; undefined if it never did. */
function standsFrom({ stoodAtMs }: WaiterRecord, backends: number): number | undefined {
  return stoodAtMs.size < backends ? undefined : Math.max(...stoodAtMs.values());
}
