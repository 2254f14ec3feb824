/** The exit codes of the command line: the one table that the code, the help and the docs read. */
import { constants } from "node:os";

/** What an exit code says. */
export interface ExitCode {
  readonly code: number;
  /** For people; completes "exit code N: …". */
  readonly meaning: string;
}

/** Every code of our own. Numbers from 64 up are those of sysexits.h, 126 and 127 those of shells. */
export const EXIT: {
  readonly [
    Name in
      | "ok"
      | "demoFailed"
      | "usage"
      | "unavailable"
      | "internal"
      | "held"
      | "lost"
      | "cannotExecute"
      | "notFound"
  ]: ExitCode;
} = {
  ok: { code: 0, meaning: "all went well" },
  demoFailed: { code: 1, meaning: "demo: a step did not go as told" },
  usage: { code: 64, meaning: "wrong options, or a package that is not installed; nothing was locked" },
  unavailable: { code: 69, meaning: "no quorum: too few backends answered, or they are in quarantine" },
  internal: { code: 70, meaning: "quorum-lock itself failed" },
  held: { code: 75, meaning: "somebody else held the lock for all of --wait" },
  lost: { code: 76, meaning: "the lock was being lost, and the command was ended before it was" },
  cannotExecute: { code: 126, meaning: "the command cannot be executed" },
  notFound: { code: 127, meaning: "the command was not found" },
};

/** The codes that are no single number. */
export const EXIT_RULES: readonly { readonly codes: string; readonly meaning: string }[] = [
  { codes: "0-255", meaning: "run: the command's own code, when it ended by itself" },
  { codes: "128+n", meaning: "signal n ended the command, or quorum-lock while it waited (130: Ctrl-C)" },
];

/** 128 + n for the signal with number n, as shells have it. */
export function signalExitCode(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}
