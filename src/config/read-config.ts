/** All sources to one checked configuration: code, then the command line, variables, the file, defaults. */
import type { Backend } from "../backend.js";
import { majority } from "../engine/quorum.js";
import { ConfigError, InvalidOptionError, show, type ConfigPlace } from "../errors.js";
import { DEFAULTS, LIMITS, resolveOptions, type LockerOptions } from "../options.js";
import { readBackend } from "./backend.js";
import { exactMs, formatMs } from "./duration.js";
import { rankOf, refuse, type Entry } from "./entry.js";
import {
  fieldVariableOf,
  flagOf,
  SETTING_NAMES,
  SETTINGS,
  variableOf,
  type FieldName,
  type SettingName,
} from "./schema.js";
import type { BackendSettings, KindName } from "./kind.js";
import type { RawConfig, RawList } from "./raw.js";
import { checkRange, parseValue, readValue, type Value } from "./value.js";

/** The configuration in effect. */
export interface Config {
  /** What is not there has its default. */
  readonly settings: ReadonlyMap<SettingName, Setting>;
  /** Empty where no source names any. */
  readonly backends: readonly BackendSettings[];
  /** Where the list of backends stands; undefined without one. */
  readonly backendsFrom: ConfigPlace | undefined;
  /** What `createLocker` takes, but for the backends and what is left to its defaults. */
  readonly options: ConfiguredOptions;
  /** For people: what is in effect, but should not be left so. */
  readonly warnings: readonly string[];
}

/** One value in effect. */
export interface Setting {
  readonly value: Value;
  readonly entry: Entry;
}

/** The options of `createLocker` that a configuration can hold. */
export type ConfiguredOptions = Omit<LockerOptions, "backends" | "logger" | "system">;

/** Bounds that a caller has beyond those of all. */
export interface Bounds {
  /** The least that makes sense for `ttl` and `maxTtl`, in milliseconds. */
  readonly ttlMsMin: number;
}

/** Reads and checks them, from the strongest to the weakest. Throws a `ConfigError`. */
export function readConfig(
  sources: readonly RawConfig[],
  { ttlMsMin }: Bounds = { ttlMsMin: LIMITS.ttlMsMin },
): Config {
  const lists = sources.flatMap(({ backends }) => (backends === undefined ? [] : [backends]));
  const [list] = lists;
  const variables = mergedFields(sources);
  const backends = readBackends(list, variables);
  // The lists that are hidden must be right as well: a fault there would show on the day when the stronger one is gone.
  for (const hidden of lists.slice(1)) readBackends(hidden, new Map());
  const settings = inEffect(sources);
  for (const { settings: entries } of sources) {
    for (const [name, entry] of entries) {
      if (settings.get(name)?.entry !== entry) readValue(entry, SETTINGS[name].type);
    }
  }
  const figures = { settings, n: backends.length, ttlMsMin };
  checkFigures(figures);
  const options = optionsOf(settings);
  checkTogether({ options, settings, n: backends.length });
  refuseHostOnly(settings, backends);
  return {
    settings,
    backends,
    backendsFrom: list?.place,
    options,
    warnings: backends.flatMap(warningsOf),
  };
}

function mergedFields(sources: readonly RawConfig[]): ReadonlyMap<number, ReadonlyMap<FieldName, Entry>> {
  return sources.find(({ fields }) => fields.size > 0)?.fields ?? new Map();
}

function readBackends(
  list: RawList | undefined,
  variables: ReadonlyMap<number, ReadonlyMap<FieldName, Entry>>,
): readonly BackendSettings[] {
  const n = list?.backends.length ?? 0;
  for (const [number, fields] of variables) {
    const [field] = fields.keys();
    if (number <= n || field === undefined) continue;
    const place = { kind: "variable", name: fieldVariableOf(number, field) } as const;
    const rule = n === 0 ? "left out, since no backend is configured" : `of one of the backends, 1 to ${n}`;
    throw new ConfigError(place, rule, `number ${number}`);
  }
  if (list === undefined) return [];
  if (n === 0 || n > LIMITS.backendsMax) {
    throw new ConfigError(list.place, `a list of 1 to ${LIMITS.backendsMax} backends`, `${n} of them`);
  }
  return list.backends.map((raw, index) => readBackend(raw, variables.get(index + 1) ?? new Map()));
}

function inEffect(sources: readonly RawConfig[]): ReadonlyMap<SettingName, Setting> {
  const settings = new Map<SettingName, Setting>();
  for (const name of SETTING_NAMES) {
    const entries = sources.flatMap((source) => source.settings.get(name) ?? []);
    const [entry] = [...entries].sort((a, b) => rankOf(a.place) - rankOf(b.place));
    if (entry === undefined) continue;
    const read = FIGURES.has(name) ? parseValue : readValue;
    settings.set(name, { entry, value: read(entry, SETTINGS[name].type) });
  }
  return settings;
}

/** Their ranges hang on other values. */
const FIGURES: ReadonlySet<SettingName> = new Set(["ttl", "maxTtl", "clockSkew", "quorum"]);

interface Figures {
  readonly settings: ReadonlyMap<SettingName, Setting>;
  /** How many backends; 0 for those of the embedded default. */
  readonly n: number;
  readonly ttlMsMin: number;
}

/** What one figure allows another. */
function checkFigures({ settings, n, ttlMsMin }: Figures): void {
  const value = (name: SettingName): number | undefined => settings.get(name)?.value as number | undefined;
  const check = (
    name: SettingName,
    range: { readonly min: number; readonly max: number; readonly of?: SettingName; readonly word?: string },
  ): void => {
    const setting = settings.get(name);
    if (setting === undefined) return;
    const { entry } = setting;
    const other = range.of === undefined ? "" : ` (${range.word ?? ""}${nameAt(entry.place, range.of)})`;
    checkRange(entry, {
      value: Number(setting.value),
      min: range.min,
      max: range.max,
      format: formatMs,
      why: other,
    });
  };
  check("maxTtl", { min: ttlMsMin, max: LIMITS.maxTtlMsMax });
  const maxTtlMs = value("maxTtl") ?? DEFAULTS.maxTtlMs;
  check("ttl", { min: ttlMsMin, max: maxTtlMs, of: "maxTtl" });
  check("clockSkew", {
    min: 0,
    max: Math.min(LIMITS.clockSkewMsMax, maxTtlMs - 1),
    of: "maxTtl",
    word: "below ",
  });
  const quorum = settings.get("quorum");
  const count = Math.max(1, n);
  if (quorum !== undefined && (Number(quorum.value) < majority(count) || Number(quorum.value) > count)) {
    throw refuse(
      quorum.entry,
      `a majority of the ${count} backends: a whole number from ${majority(count)} to ${count}`,
    );
  }
}

/** What another setting is called where this one was given. */
function nameAt(place: ConfigPlace, name: SettingName): string {
  switch (place.kind) {
    case "file":
      return name;
    case "variable":
      return variableOf(name);
    case "option":
      return flagOf(name);
    case "code":
      return SETTINGS[name].option ?? name;
  }
}

function optionsOf(settings: ReadonlyMap<SettingName, Setting>): ConfiguredOptions {
  const entries = [...settings].flatMap(([name, { value }]) => {
    const { option } = SETTINGS[name];
    return option === undefined ? [] : [[option, value] as const];
  });
  return Object.fromEntries(entries) as ConfiguredOptions;
}

interface Together {
  readonly options: ConfiguredOptions;
  readonly settings: ReadonlyMap<SettingName, Setting>;
  readonly n: number;
}

/** The rules of `createLocker` itself, tried on backends that are not there, so that an error can name the place. */
function checkTogether({ options, settings, n }: Together): void {
  const backends = Array.from({ length: Math.max(1, n) }, (_, index) => standIn(`${index + 1}`));
  withPlaces(settings, () => resolveOptions({ ...options, backends }));
}

/** Does it; an error about an option becomes one about the place where that was configured. */
export function withPlaces<T>(settings: ReadonlyMap<SettingName, Setting>, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof InvalidOptionError)) throw error;
    const found = [...settings].find(([name]) => SETTINGS[name].option === error.option);
    if (found === undefined) throw error;
    const [name, { entry }] = found;
    const value = SETTINGS[name].type.kind === "duration" ? exactMs(Number(error.value)) : show(error.value);
    throw new ConfigError(entry.place, error.rule, value);
  }
}

function standIn(name: string): Backend {
  return {
    kind: "none",
    name,
    client: {},
    capabilities: {
      earlyByMs: 0,
      lateByMs: 0,
      expiryClock: "monotonic",
      durable: true,
      lists: true,
      atomicStep: "none",
      acquireRoundTrips: 0,
    },
    open: () => {
      throw new InvalidOptionError("backends", "real", name);
    },
  };
}

/** Kinds that no other host reaches. */
const HOST_ONLY: ReadonlySet<KindName> = new Set(["sqlite", "noop"]);

function refuseHostOnly(
  settings: ReadonlyMap<SettingName, Setting>,
  backends: readonly BackendSettings[],
): void {
  const required = settings.get("requireQuorum");
  if (required?.value !== true || backends.some(({ kind }) => !HOST_ONLY.has(kind))) return;
  const what =
    backends.length === 0
      ? "none is configured"
      : backends.some(({ kind }) => kind === "noop")
        ? "noop: locks nothing"
        : "all are SQLite files";
  throw new ConfigError(
    required.entry.place,
    "left out, or at least one backend configured that other hosts reach (--backend, QUORUM_LOCK_BACKENDS, quorum-lock.yaml)",
    `true, while ${what}`,
  );
}

function warningsOf({ kind, url, tls }: BackendSettings): readonly string[] {
  if (kind === "noop") return [`WARNING: ${url} grants everything and excludes nobody: nothing is locked`];
  if (tls?.rejectUnauthorized !== false) return [];
  return [
    `WARNING: the certificate of ${url} is not verified (tls.rejectUnauthorized is false): anybody on the way can read the password and pretend to be the server; use tls.ca instead`,
  ];
}
