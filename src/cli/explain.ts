/** Errors as the person at the terminal needs them: one line that says what to do next, and the exit code. */
import {
  AbortedError,
  BackendError,
  type BackendErrorCode,
  ConfigError,
  ConfigMismatchError,
  InvalidKeyError,
  InvalidOptionError,
  LockHeldError,
  MissingPackageError,
  NoQuorumError,
  QuarantinedError,
  QuorumLockError,
  SameBackendError,
  show,
  type VoteReport,
} from "../errors.js";
import { CommandLineError } from "./command-line-error.js";
import { formatMs } from "./duration.js";
import { EXIT } from "./exit-codes.js";

/** What to print and return. */
export interface Explanation {
  readonly exitCode: number;
  readonly line: string;
}

/** Explains whatever a command threw. */
export function explain(error: unknown): Explanation {
  if (error instanceof CommandLineError) return { exitCode: error.exitCode, line: oneLine(error.message) };
  if (error instanceof QuorumLockError) return explainLock(error);
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    exitCode: EXIT.internal.code,
    line: `internal error, please report it with this text: ${what
      .split("\n")
      .slice(0, 4)
      .map((part) => part.trim())
      .join(" | ")}`,
  };
}

function explainLock(error: QuorumLockError): Explanation {
  if (error instanceof LockHeldError) return as(EXIT.held, heldText(error));
  if (error instanceof NoQuorumError)
    return as(EXIT.unavailable, `${inCommands(error.message)}; ${noQuorumHint(error)}`);
  if (error instanceof QuarantinedError)
    return as(EXIT.unavailable, `${inCommands(error.message)}; ${quarantineHint(error)}`);
  if (error instanceof InvalidOptionError) return as(EXIT.usage, optionText(error));
  if (error instanceof InvalidKeyError) {
    return as(EXIT.usage, `option --key must be ${error.rule}; got ${show(error.key)}`);
  }
  if (error instanceof ConfigError) return as(EXIT.usage, error.message);
  if (error instanceof MissingPackageError) return as(EXIT.usage, missingText(error));
  if (error instanceof SameBackendError)
    return as(EXIT.usage, `${error.message}; give each backend its own server`);
  if (error instanceof ConfigMismatchError) {
    return as(EXIT.usage, `${error.message}; ${FIGURES_HINT}`);
  }
  if (error instanceof AbortedError) return as(EXIT.internal, error.message);
  if (error instanceof BackendError) return backendText(error);
  return as(EXIT.unavailable, error.message);
}

/**
 * An attempt is given up as soon as too many backends have failed, and then says of the others that they had not
 * answered. Whoever has to repair something wants to know all that fail: `faults` are those known by now.
 */
export function withKnownFaults(error: unknown, faults: ReadonlyMap<string, BackendError>): unknown {
  if (!(error instanceof NoQuorumError)) return error;
  const { key, attempts, waitedMs, retryAfterMs } = error;
  const votes = error.votes.map((vote): VoteReport => {
    const fault = vote.vote === "no-answer" ? faults.get(vote.backend) : undefined;
    return fault === undefined ? vote : { ...vote, vote: "fault", code: fault.code, error: fault };
  });
  return new NoQuorumError({ key, votes, attempts, waitedMs, retryAfterMs });
}

/** What the library calls its functions and options, the command line has commands for. */
function inCommands(message: string): string {
  return message
    .replace("run locker.bootstrap() once", "run quorum-lock init with the same options, once")
    .replace('(restartGuard is "strict")', "(--restart-guard strict)");
}

function as(exit: { readonly code: number }, text: string): Explanation {
  return { exitCode: exit.code, line: oneLine(text) };
}

function missingText({ message, packages }: MissingPackageError): string {
  return `${message} (with npx: npx -p quorum-lock -p ${packages[0] ?? ""} quorum-lock …)`;
}

function heldText({ key, retryAfterMs, waitedMs, votes }: LockHeldError): string {
  const held = votes.filter(({ vote }) => vote === "held");
  // Too few of the others were waited for to tell when enough are free: then when the last one that was is.
  const leftMs = retryAfterMs ?? Math.max(0, ...held.map(({ remainingMs = 0 }) => remainingMs));
  const left = ` for another ${formatMs(leftMs)} unless it is extended`;
  const waited = waitedMs < 1 ? "" : ` (waited ${formatMs(waitedMs)})`;
  return (
    `lock ${show(key)} is held by somebody else${left}, say ${held.length} of ${votes.length} backends${waited}; ` +
    `try again later, or wait longer: --wait 5m`
  );
}

function noQuorumHint({ votes }: NoQuorumError): string {
  return faultHint(votes.flatMap(({ code }) => (code === undefined ? [] : [code])));
}

function backendText(error: BackendError): Explanation {
  if (error.code === "BACKEND_MARK_MISMATCH") return as(EXIT.usage, `${error.message}; ${FIGURES_HINT}`);
  return as(EXIT.unavailable, `${error.message}; ${faultHint([error.code])}`);
}

/** What to do about faults with these codes. */
export function faultHint(codes: readonly BackendErrorCode[]): string {
  if (codes.includes("BACKEND_AUTH")) return "check user and password in their URLs";
  if (codes.includes("BACKEND_NO_PERMISSION")) return "check what the user in their URLs may do";
  if (codes.some((code) => UNREACHABLE.has(code))) {
    return "check that these servers run and that their URLs name them";
  }
  return "quorum-lock check with the same backends says what is wrong with each server";
}

const UNREACHABLE: ReadonlySet<BackendErrorCode> = new Set([
  "BACKEND_NOT_CONNECTED",
  "BACKEND_DISCONNECTED",
  "BACKEND_TIMEOUT",
  "BACKEND_SILENT",
]);

const FIGURES_HINT = "see --backend (its durable= too), --quorum, --max-ttl and --restart-guard";

function quarantineHint({ retryAfterMs }: QuarantinedError): string {
  const wait = retryAfterMs === undefined ? "2m" : formatMs(Math.ceil((retryAfterMs + 1000) / 1000) * 1000);
  return `it passes by itself: try again then, or use --wait ${wait}`;
}

const FLAGS: ReadonlyMap<string, string> = new Map([
  ["backends", "--backend"],
  ["ttlMs", "--ttl"],
  ["waitMs", "--wait"],
  ["quorum", "--quorum"],
  ["maxTtlMs", "--max-ttl"],
  ["clockSkewMs", "--clock-skew"],
  ["restartGuard", "--restart-guard"],
  ["redis(…, { name })", "--backend …?name="],
  ["redis(…, { prefix })", "--backend …?prefix="],
]);

function optionText({ option, rule, value }: InvalidOptionError): string {
  return `option ${FLAGS.get(option) ?? option} must be ${rule}; got ${show(value)}`;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ");
}
