import type { History, Violation } from "../history.js";
import { checkExclusion } from "./exclusion.js";
import { checkLeaks } from "./leaks.js";
import { checkLine } from "./line.js";
import { checkLiveness } from "./liveness.js";
import { checkLossSignal } from "./loss-signal.js";
import { checkResurrection } from "./resurrection.js";
import { checkStaleWrites } from "./stale-writes.js";
import { checkStandstill } from "./standstill.js";
import { checkTokens } from "./tokens.js";
import { checkTurns } from "./turns.js";
import { checkWaking } from "./waking.js";

/** Every checker by name. */
export const CHECKERS: Readonly<Record<string, (history: History) => readonly Violation[]>> = {
  exclusion: checkExclusion,
  tokens: checkTokens,
  "stale writes": checkStaleWrites,
  resurrection: checkResurrection,
  "loss signal": checkLossSignal,
  liveness: checkLiveness,
  leaks: checkLeaks,
  line: checkLine,
  waking: checkWaking,
  turns: checkTurns,
  standstill: checkStandstill,
};

/** Everything that is wrong with a history. */
export function violationsOf(history: History): readonly Violation[] {
  return Object.values(CHECKERS).flatMap((check) => check(history));
}
