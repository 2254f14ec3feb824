/**
 * A waiter that was called tries at once, or a little later where not all backends have called: waits end by calls, not by
 * polls alone. In processes that nothing kept from running in between.
 */
import type { History, Violation } from "../history.js";

/** For how long a waiter waits for the calls of the other backends, and what timers round up. */
const SETTLE_MS = 25;

export function checkWaking(history: History): readonly Violation[] {
  const { attemptMs, driftPpm } = history.lineBounds;
  // A call may come in the middle of an attempt, which ends first.
  const boundMs = (attemptMs + SETTLE_MS) / (1 - driftPpm / 1e6);
  return history.wakes
    .filter(({ calledAtMs, triedAtMs }) => triedAtMs - calledAtMs > boundMs)
    .map(({ waiter, calledAtMs, triedAtMs }) => ({
      checker: "waking",
      promise: "waiting in line",
      what: `waiter ${waiter} was called at ${calledAtMs.toFixed(3)} ms, and had not tried ${(triedAtMs - calledAtMs).toFixed(0)} ms later`,
    }));
}
