/** The configuration of a program: from its file, variables and code, to the options of `createLocker`. */
import { ConfigError, refuseUnknownOptions } from "../errors.js";
import { resolveOptions, type LockerOptions } from "../options.js";
import { readCode, type CodeOptions } from "./code.js";
import { describeConfig, type DescribedValue } from "./describe.js";
import { embeddedBackend } from "./embedded.js";
import { readEnvironment, type Environment } from "./environment.js";
import { readFile } from "./file.js";
import { openBackends } from "./open.js";
import { readConfig, withPlaces } from "./read-config.js";
import { SETTINGS, SETTING_NAMES } from "./schema.js";

/** Options of {@link loadConfig}. What is given here is stronger than variables, and those than the file. */
export interface LoadConfigOptions extends CodeOptions {
  /** The YAML file; false for none. Default: that of `QUORUM_LOCK_CONFIG`, else `quorum-lock.yaml` in the working directory, if it is there. */
  readonly file?: string | false;
  /** The variables; `{}` for none. Default `process.env`. */
  readonly env?: Environment;
  /** Where no backend is configured, use a file of this user on this host, as the command line does. Default false: reject. */
  readonly embedded?: boolean;
}

/** What {@link loadConfig} resolves to. */
export interface LoadedConfig {
  /** For `createLocker`. Every value was checked. */
  readonly options: LockerOptions;
  /** Every value with its source; without secrets. */
  readonly values: readonly DescribedValue[];
  /** `logLevel`, for a logger of your own; undefined where it is not configured. */
  readonly logLevel: string | undefined;
  /** Closes the clients that were opened, after the locker was closed. Never rejects, and takes a second at most. */
  close(): Promise<void>;
}

const OPTIONS: ReadonlySet<string> = new Set([
  "file",
  "env",
  "embedded",
  "backends",
  "requireQuorum",
  ...SETTING_NAMES.flatMap((name) => SETTINGS[name].option ?? []),
]);

/**
 * Reads the configuration (docs/configuration.md), checks all of it, and opens the backends that it names with clients of
 * its own. Waits for no server. Backends that the program opened itself need none of this: `createLocker` takes them.
 *
 * Rejects with `INVALID_CONFIG`, which names the place and the rule, with `MISSING_PACKAGE` where the client of a backend, or `yaml`
 * for a file, is not installed, or with `INVALID_OPTION`. No message and no value shows a password. A certificate
 * that is not verified is told by `process.emitWarning`.
 *
 * @example
 * ```ts
 * import { createLocker } from "quorum-lock";
 * import { loadConfig } from "quorum-lock/config";
 *
 * const config = await loadConfig({ file: false, env: {}, backends: ["redis://a", "redis://b", "redis://c"] });
 * const locker = createLocker(config.options);
 * await locker.close();
 * await config.close();
 * ```
 */
export async function loadConfig(options: LoadConfigOptions = {}): Promise<LoadedConfig> {
  refuseUnknownOptions(options, OPTIONS, "the options of loadConfig()");
  const { file, env = process.env, embedded = false } = options;
  const place = { kind: "code", name: "file" } as const;
  const sources = [
    readCode(options),
    readEnvironment(env),
    ...(file === false ? [] : [readFile(file === undefined ? undefined : { path: file, place }, env)]),
  ];
  const config = readConfig(sources);
  if (config.backends.length === 0 && !embedded) {
    throw new ConfigError(
      { kind: "code", name: "backends" },
      "there, or in QUORUM_LOCK_BACKENDS, or in quorum-lock.yaml; or embedded: true for locks of this host",
      "none",
    );
  }
  const settings = config.backends.length === 0 ? [embeddedBackend(env)] : config.backends;
  for (const warning of config.warnings) process.emitWarning(warning, { code: "QUORUM_LOCK_CONFIG" });
  const { backends, close } = await openBackends(settings);
  try {
    const complete: LockerOptions = { ...config.options, backends };
    // What only the real backends decide, such as whether a TTL leaves any validity with their clocks.
    withPlaces(config.settings, () => resolveOptions(complete));
    const logLevel = config.settings.get("logLevel")?.value;
    return {
      options: complete,
      values: describeConfig({ ...config, backends: settings }),
      logLevel: logLevel === undefined ? undefined : String(logLevel),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
