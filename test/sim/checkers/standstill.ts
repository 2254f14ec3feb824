/**
 * Where nothing goes wrong and somebody stands in line, the key is soon somebody's: waiters do not take votes from one another for
 * ever, not even where no backend more than the quorum votes.
 */
import type { History, Violation } from "../history.js";

export function checkStandstill(history: History): readonly Violation[] {
  const { idleMsMax, endedAtMs } = history.lineBounds;
  if (idleMsMax === undefined) return [];
  const violations: Violation[] = [];
  for (const waiter of history.waiters) {
    const goneAtMs = Math.min(waiter.goneAtMs, endedAtMs);
    let idleFromMs = waiter.askedAtMs;
    for (const lease of history.leases.filter(({ key }) => key === waiter.key)) {
      if (lease.overAtMs <= idleFromMs) continue;
      judge(idleFromMs, Math.min(lease.wonAtMs, goneAtMs));
      idleFromMs = lease.overAtMs;
    }
    judge(idleFromMs, goneAtMs);

    function judge(fromMs: number, untilMs: number): void {
      if (idleMsMax === undefined || untilMs - fromMs <= idleMsMax) return;
      violations.push({
        checker: "standstill",
        promise: "waiting in line",
        what: `nobody had ${waiter.key} from ${fromMs.toFixed(3)} ms on for ${(untilMs - fromMs).toFixed(0)} ms, though ${waiter.name} waited for it`,
      });
    }
  }
  return violations;
}
