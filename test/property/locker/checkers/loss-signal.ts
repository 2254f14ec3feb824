/** In a process that runs, the loss signal comes between 50 ms before the end of validity and the end. */
import { ofKind, type History, type Violation } from "../history.js";

const EARLY_MS_MAX = 50;
const ROUNDING_MS = 1e-6;

export function checkLossSignal(history: History): readonly Violation[] {
  const late = ofKind(history, "loss")
    .filter(({ remainingMs }) => remainingMs < -ROUNDING_MS || remainingMs > EARLY_MS_MAX + ROUNDING_MS)
    .map(({ lease, remainingMs }) => ({
      checker: "loss signal",
      what: `the signal of lease ${lease} came with ${remainingMs.toFixed(3)} ms of validity left`,
    }));
  const never = ofKind(history, "silent-loss").map(({ lease, atMs }) => ({
    checker: "loss signal",
    what: `no signal had come at ${atMs.toFixed(3)} ms, though the validity of lease ${lease} had ended`,
  }));
  return [...late, ...never];
}
