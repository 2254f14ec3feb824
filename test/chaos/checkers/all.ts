import type { History, Violation } from "../history.js";
import { checkExclusion } from "./exclusion.js";
import { checkLossSignal } from "./loss-signal.js";
import { checkStaleWrites } from "./stale-writes.js";
import { checkTokens } from "./tokens.js";

/** Everything that is wrong with a history. */
export function violationsOf(history: History): readonly Violation[] {
  return [checkExclusion, checkTokens, checkStaleWrites, checkLossSignal].flatMap((check) => check(history));
}
