/**
 * In a process that runs, the loss signal comes between 50 ms before the end of validity and the end; and a lease never
 * says that it is held behind its end, however long the process did not run.
 */
import { leaseText, type History, type Violation } from "../history.js";

const EARLY_MS_MAX = 50;
const ROUNDING_MS = 1e-6;

export function checkLossSignal(history: History): readonly Violation[] {
  const found = (what: string): Violation => ({ checker: "loss signal", promise: "loss signal", what });
  return [
    ...history.losses
      .filter(({ remainingMs }) => remainingMs < -ROUNDING_MS || remainingMs > EARLY_MS_MAX + ROUNDING_MS)
      .map(({ lease, remainingMs }) =>
        found(`the signal of ${leaseText(lease)} came with ${remainingMs.toFixed(3)} ms of validity left`),
      ),
    ...history.silentLosses.map((lease) =>
      found(`no signal came, though the validity of ${leaseText(lease)} ended`),
    ),
    ...history.overstated.map(({ lease, atMs, remainingMs }) =>
      found(
        `${leaseText(lease)} said at ${atMs.toFixed(3)} ms that ${remainingMs.toFixed(3)} ms were left, though it had ended`,
      ),
    ),
  ];
}
