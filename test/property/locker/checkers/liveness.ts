/** If a majority is healthy and nobody holds, somebody gets the lock within the stated bound. */
import { ofKind, type History, type Violation } from "../history.js";

export function checkLiveness(history: History): readonly Violation[] {
  return ofKind(history, "last-acquire")
    .filter(({ error, waitedMs, boundMs }) => error !== undefined || waitedMs > boundMs)
    .map(({ key, waitedMs, boundMs, error }) => ({
      checker: "liveness",
      what: `${key} was not acquired within ${boundMs} ms (waited ${waitedMs.toFixed(0)} ms): ${error ?? "too late"}`,
    }));
}
