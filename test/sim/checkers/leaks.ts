/** When everybody has gone, nothing is left: no timer, no waiter, no listener, and no lock of an attempt that is over. */
import type { History, Violation } from "../history.js";

export function checkLeaks(history: History): readonly Violation[] {
  return history.leaks.map((what) => ({ checker: "leaks", promise: "no leaks", what }));
}
