/** The exit codes of the command line: the one table that the code, the help and the docs read. */
import { constants } from "node:os";

/** What an exit code says. */
export interface ExitCode {
  readonly code: number;
  /** For the help. */
  readonly brief: string;
  /** For the docs; completes "exit code N: …". */
  readonly meaning: string;
}

/** Every code of our own. Numbers from 64 up are those of sysexits.h, 126 and 127 those of shells. */
export const EXIT: {
  readonly [
    Name in
      "ok" | "problem" | "usage" | "unavailable" | "internal" | "held" | "lost" | "cannotExecute" | "notFound"
  ]: ExitCode;
} = {
  ok: { code: 0, brief: "all went well", meaning: "all went well" },
  problem: {
    code: 1,
    brief: "a problem",
    meaning:
      "check: a problem was found; demo: a step did not go as told; commands that ask first: you did not say yes",
  },
  usage: {
    code: 64,
    brief: "usage",
    meaning: "wrong options, or a package that is not installed; nothing was locked",
  },
  unavailable: {
    code: 69,
    brief: "no quorum",
    meaning: "too few backends answered, or they are in quarantine; nothing was run",
  },
  internal: { code: 70, brief: "failure", meaning: "quorum-lock itself or its watcher failed" },
  held: {
    code: 75,
    brief: "held",
    meaning: "somebody else held the lock for all of --wait; nothing was run",
  },
  lost: {
    code: 76,
    brief: "lock lost",
    meaning: "the lock was being lost, and the command was ended before it was",
  },
  cannotExecute: { code: 126, brief: "not executable", meaning: "the command cannot be executed" },
  notFound: { code: 127, brief: "not found", meaning: "the command was not found" },
};

/** The codes that are no single number. */
export const EXIT_RULES: readonly { readonly codes: string; readonly meaning: string }[] = [
  { codes: "0-255", meaning: "run: the command's own code, when it ended by itself" },
  { codes: "128+n", meaning: "signal n ended the command, or quorum-lock while it waited (130: Ctrl-C)" },
];

/** Codes as the help lists them. */
export function listCodes(codes: readonly ExitCode[]): string {
  return codes.map(({ code, brief }) => `${code} ${brief}`).join(", ");
}

/** 128 + n for the signal with number n, as shells have it. */
export function signalExitCode(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}
