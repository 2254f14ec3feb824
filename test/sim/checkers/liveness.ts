/** If a majority is healthy and nobody holds, somebody gets the lock within the stated bound. */
import type { History, Violation } from "../history.js";

export function checkLiveness(history: History): readonly Violation[] {
  return history.lastAcquires
    .filter(({ error, waitedMs, boundMs }) => error !== undefined || waitedMs > boundMs)
    .map(({ key, waitedMs, boundMs, error }) => ({
      checker: "liveness",
      promise: "progress",
      what: `${key} was not acquired within ${boundMs} ms (waited ${waitedMs.toFixed(0)} ms): ${error ?? "too late"}`,
    }));
}
