/** The arguments of `quorum-lock run`, read and checked. */
import { show } from "../errors.js";
import { checkKey, DEFAULTS, LIMITS } from "../options.js";
import { COMMANDS } from "./command-table.js";
import { readCommonSettings, readDurationMs, type CommonSettings } from "./common-options.js";
import { RUN_TTL_MS_MIN } from "./ending-times.js";
import { parseArguments, usage, type Arguments } from "./parse-arguments.js";

/** What a run is to do. */
export interface RunSettings extends CommonSettings {
  readonly key: string;
  readonly command: readonly [name: string, ...args: string[]];
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly killGraceMs: number | undefined;
}

/** How long a lock outlives a crash, unless that is configured. */
export const RUN_TTL_MS_DEFAULT = 30_000;

/** Reads them; "help" when that was asked for. Throws a `CommandLineError`. */
export function readRunSettings(args: readonly string[]): RunSettings | "help" {
  const [own, command] = splitAtDashes(args);
  const given = parseArguments(COMMANDS.run, own);
  return given.has("help") ? "help" : readSettings(given, command);
}

/** Everything after the first `--` is the command's, whatever it looks like. */
function splitAtDashes(args: readonly string[]): readonly [readonly string[], readonly string[]] {
  const at = args.indexOf("--");
  return at === -1 ? [args, []] : [args.slice(0, at), args.slice(at + 1)];
}

function readSettings(given: Arguments, command: readonly string[]): RunSettings {
  const common = readCommonSettings("run", given, RUN_TTL_MS_MIN);
  const key = given.one("key");
  if (key === undefined) throw usage("run", "option --key is missing: what is to be locked");
  checkKey(key);
  const { ttlMs = Math.min(RUN_TTL_MS_DEFAULT, common.maxTtlMs), waitMs = DEFAULTS.waitMs } =
    common.config.options;
  return {
    ...common,
    key,
    command: checkedCommand(command),
    ttlMs,
    waitMs,
    killGraceMs: readDurationMs(given, "kill-grace", { minMs: 0, maxMs: LIMITS.maxTtlMsMax }),
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
