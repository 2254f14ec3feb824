/** The options that every command over backends has: who votes, and the figures that all users must share. */
import type { RestartGuard } from "../backend.js";
import { majority } from "../engine/quorum.js";
import { InvalidKeyError, show } from "../errors.js";
import { checkKey, DEFAULTS, LIMITS } from "../options.js";
import { CommandLineError } from "./command-line-error.js";
import { RESTART_GUARDS } from "./command-table.js";
import { parseDurationMs, type DurationRange } from "./duration.js";
import { EXIT } from "./exit-codes.js";
import { usage, type Arguments } from "./parse-arguments.js";
import { parseBackendUrl, type BackendAddress } from "./parse-url.js";

/** What they say. */
export interface CommonSettings {
  readonly addresses: readonly BackendAddress[];
  /** Undefined for a majority. */
  readonly quorum: number | undefined;
  readonly maxTtlMs: number;
  readonly clockSkewMs: number;
  readonly restartGuard: RestartGuard;
  readonly logLevel: string | undefined;
}

/** Reads and checks them. Throws a {@link CommandLineError}. `maxTtlMsMin`: the least that makes sense for `--max-ttl`. */
export function readCommonSettings(
  command: string,
  given: Arguments,
  maxTtlMsMin: number = LIMITS.ttlMsMin,
): CommonSettings {
  const addresses = given.all("backend").map(parseBackendUrl);
  if (addresses.length === 0)
    throw usage(command, "option --backend is missing: the URL of each server that votes");
  const maxTtlMs =
    readDurationMs(given, "max-ttl", { minMs: maxTtlMsMin, maxMs: LIMITS.maxTtlMsMax }) ?? DEFAULTS.maxTtlMs;
  const skewRange = {
    minMs: 0,
    maxMs: Math.min(LIMITS.clockSkewMsMax, maxTtlMs - 1),
    why: " (below --max-ttl)",
  };
  return {
    addresses,
    maxTtlMs,
    clockSkewMs:
      readDurationMs(given, "clock-skew", skewRange) ?? Math.min(DEFAULTS.clockSkewMs, maxTtlMs - 1),
    quorum: quorumOf(given, addresses.length),
    restartGuard: restartGuardOf(given),
    logLevel: given.one("log-level"),
  };
}

/** The duration that an option gives, in milliseconds; undefined without the option. Throws a {@link CommandLineError}. */
export function readDurationMs(given: Arguments, option: string, range: DurationRange): number | undefined {
  const text = given.one(option);
  return text === undefined ? undefined : parseDurationMs(`--${option}`, text, range);
}

/** The argument KEY, checked. Throws a {@link CommandLineError}. */
export function readKey(given: Arguments): string {
  try {
    return checkKey(given.positional("KEY") ?? "");
  } catch (error) {
    if (!(error instanceof InvalidKeyError)) throw error;
    throw new CommandLineError(EXIT.usage, `KEY must be ${error.rule}; got ${show(error.key)}`);
  }
}

function quorumOf(given: Arguments, n: number): number | undefined {
  const text = given.one("quorum");
  if (text === undefined) return undefined;
  const quorum = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (quorum >= majority(n) && quorum <= n) return quorum;
  const rule = `a majority of the ${n} backends: a whole number from ${majority(n)} to ${n}`;
  throw new CommandLineError(EXIT.usage, `option --quorum must be ${rule}; got ${show(text)}`);
}

function restartGuardOf(given: Arguments): RestartGuard {
  const text = given.one("restart-guard") ?? DEFAULTS.restartGuard;
  const guard = RESTART_GUARDS.find((each) => each === text);
  if (guard !== undefined) return guard;
  throw new CommandLineError(
    EXIT.usage,
    `option --restart-guard must be one of ${RESTART_GUARDS.join(", ")}; got ${show(text)}`,
  );
}
