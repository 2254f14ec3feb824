/** The arguments of `quorum-lock run`, read and checked. */
import type { RestartGuard } from "../backend.js";
import { majority } from "../engine/quorum.js";
import { show } from "../errors.js";
import { checkKey, DEFAULTS, LIMITS } from "../options.js";
import { CommandLineError } from "./command-line-error.js";
import { parseDurationMs, type DurationRange } from "./duration.js";
import { RUN_TTL_MS_MIN } from "./ending-times.js";
import { EXIT } from "./exit-codes.js";
import { parseArguments, usage, type Arguments, type OptionSpec } from "./parse-arguments.js";
import { parseBackendUrl, type BackendAddress } from "./parse-url.js";

/** What a run is to do. */
export interface RunSettings {
  readonly key: string;
  readonly command: readonly [name: string, ...args: string[]];
  readonly addresses: readonly BackendAddress[];
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly killGraceMs: number | undefined;
  readonly quorum: number | undefined;
  readonly maxTtlMs: number;
  readonly clockSkewMs: number;
  readonly restartGuard: RestartGuard;
  readonly logLevel: string | undefined;
}

const OPTIONS: Readonly<Record<string, OptionSpec>> = {
  backend: { type: "string", repeatable: true },
  key: { type: "string" },
  ttl: { type: "string" },
  wait: { type: "string" },
  "kill-grace": { type: "string" },
  quorum: { type: "string" },
  "max-ttl": { type: "string" },
  "clock-skew": { type: "string" },
  "restart-guard": { type: "string" },
  "log-level": { type: "string" },
};

const RUN_TTL_MS_DEFAULT = 30_000;
const RESTART_GUARDS: readonly RestartGuard[] = ["auto", "strict", "off"];

/** Reads them; "help" when that was asked for. Throws a {@link CommandLineError}. */
export function readRunSettings(args: readonly string[]): RunSettings | "help" {
  const [own, command] = splitAtDashes(args);
  const given = parseArguments("run", OPTIONS, own);
  return given.has("help") ? "help" : readSettings(given, command);
}

/** Everything after the first `--` is the command's, whatever it looks like. */
function splitAtDashes(args: readonly string[]): readonly [readonly string[], readonly string[]] {
  const at = args.indexOf("--");
  return at === -1 ? [args, []] : [args.slice(0, at), args.slice(at + 1)];
}

function readSettings(given: Arguments, command: readonly string[]): RunSettings {
  const key = given.one("key");
  const addresses = given.all("backend").map(parseBackendUrl);
  if (addresses.length === 0)
    throw usage("run", "option --backend is missing: the URL of each server that votes");
  if (key === undefined) throw usage("run", "option --key is missing: what is to be locked");
  checkKey(key);
  const maxTtlMs =
    duration(given, "max-ttl", { minMs: RUN_TTL_MS_MIN, maxMs: LIMITS.maxTtlMsMax }) ?? DEFAULTS.maxTtlMs;
  const ttlRange = { minMs: RUN_TTL_MS_MIN, maxMs: maxTtlMs, why: " (--max-ttl)" };
  const skewRange = {
    minMs: 0,
    maxMs: Math.min(LIMITS.clockSkewMsMax, maxTtlMs - 1),
    why: " (below --max-ttl)",
  };
  return {
    key,
    command: checkedCommand(command),
    addresses,
    maxTtlMs,
    ttlMs: duration(given, "ttl", ttlRange) ?? Math.min(RUN_TTL_MS_DEFAULT, maxTtlMs),
    waitMs: duration(given, "wait", { minMs: 0, maxMs: LIMITS.waitMsMax }) ?? DEFAULTS.waitMs,
    killGraceMs: duration(given, "kill-grace", { minMs: 0, maxMs: LIMITS.maxTtlMsMax }),
    clockSkewMs: duration(given, "clock-skew", skewRange) ?? Math.min(DEFAULTS.clockSkewMs, maxTtlMs - 1),
    quorum: quorumOf(given, addresses.length),
    restartGuard: restartGuardOf(given),
    logLevel: given.one("log-level"),
  };
}

function checkedCommand(command: readonly string[]): RunSettings["command"] {
  const [name, ...args] = command;
  if (name === undefined || name === "") {
    throw usage("run", "the command is missing: write -- and then the command with its arguments");
  }
  // Shells differ in what they make of such a name.
  if (name.startsWith("-")) throw usage("run", `the command must not begin with a dash; got ${show(name)}`);
  return [name, ...args];
}

function duration(given: Arguments, option: string, range: DurationRange): number | undefined {
  const text = given.one(option);
  return text === undefined ? undefined : parseDurationMs(`--${option}`, text, range);
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
