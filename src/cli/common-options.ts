/** The options that every command over backends has, with what files and variables say: who votes, and the figures that all users must share. */
import { NOTHING, type RawConfig } from "../config/raw.js";
import { readEnvironment } from "../config/environment.js";
import type { Entry } from "../config/entry.js";
import { readFile } from "../config/file.js";
import { readConfig, type Config } from "../config/read-config.js";
import { flagOf, SETTING_NAMES, SETTINGS, type SettingName } from "../config/schema.js";
import { InvalidKeyError, show } from "../errors.js";
import { checkKey, DEFAULTS, LIMITS } from "../options.js";
import { CommandLineError } from "./command-line-error.js";
import { parseDurationMs, type DurationRange } from "./duration.js";
import { EXIT } from "./exit-codes.js";
import type { Arguments } from "./parse-arguments.js";

/** What they say. */
export interface CommonSettings {
  readonly config: Config;
  readonly maxTtlMs: number;
  readonly logLevel: string | undefined;
}

/**
 * Reads and checks them, with the variables and the file. Throws a `ConfigError`. `maxTtlMsMin`: the least that makes sense for
 * TTLs, in milliseconds.
 */
export function readCommonSettings(
  _command: string,
  given: Arguments,
  maxTtlMsMin: number = LIMITS.ttlMsMin,
): CommonSettings {
  const { env } = process;
  const file = given.one("config");
  const wanted = file === undefined ? undefined : { path: file, place: placeOf("--config") };
  const config = readConfig([argumentsOf(given), readEnvironment(env), readFile(wanted, env)], {
    ttlMsMin: maxTtlMsMin,
  });
  const logLevel = config.settings.get("logLevel")?.value;
  return {
    config,
    maxTtlMs: config.options.maxTtlMs ?? DEFAULTS.maxTtlMs,
    logLevel: logLevel === undefined ? undefined : String(logLevel),
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

/** The command line as one of the sources. */
function argumentsOf(given: Arguments): RawConfig {
  const settings = new Map<SettingName, Entry>();
  for (const name of SETTING_NAMES) {
    const flag = flagOf(name);
    const option = flag.slice(2);
    const text = SETTINGS[name].type.kind === "flag" && given.has(option) ? "true" : given.one(option);
    if (text !== undefined) settings.set(name, { text, place: placeOf(flag), secret: false });
  }
  const urls = given.all("backend");
  const place = placeOf("--backend");
  const backends = urls.map((text) => ({ url: { text, place, secret: false }, fields: new Map() }));
  return { ...NOTHING, settings, backends: urls.length === 0 ? undefined : { place, backends } };
}

function placeOf(name: string): Entry["place"] {
  return { kind: "option", name };
}
