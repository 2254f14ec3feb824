/** The configuration in effect as people and programs may see it: every value with its source, no secret. */
import type { ConfigPlace } from "../errors.js";
import { majority } from "../engine/quorum.js";
import { DEFAULTS } from "../options.js";
import { exactMs } from "./duration.js";
import type { Config } from "./read-config.js";
import { SETTING_NAMES, SETTINGS, type SettingName } from "./schema.js";

/** One value in effect. */
export interface DescribedValue {
  /** Such as "ttl", "backends[0].url" or "backends[0].tls.ca". */
  readonly key: string;
  /** Null for a secret. */
  readonly value: string | null;
  /** "default" where no source has it. */
  readonly source: "code" | "option" | "variable" | "file" | "default";
  /** Such as "QUORUM_LOCK_TTL", "--ttl" or "quorum-lock.yaml:3:6"; null for a default. */
  readonly from: string | null;
}

/** Describes it, first the backends. */
export function describeConfig(
  config: Pick<Config, "settings" | "backends" | "backendsFrom" | "options">,
  ttlMsDefault: number = DEFAULTS.ttlMs,
): readonly DescribedValue[] {
  const backends = config.backends.flatMap(({ url, place, shown }, index): readonly DescribedValue[] => [
    config.backendsFrom === undefined
      ? { key: `backends[${index}].url`, value: url, source: "default", from: null }
      : described(`backends[${index}].url`, url, place),
    ...shown.map(({ name, text, place: from }) =>
      described(`backends[${index}].${name}`, text ?? null, from),
    ),
  ]);
  const settings = SETTING_NAMES.map((name): DescribedValue => {
    const setting = config.settings.get(name);
    if (setting === undefined) {
      const value = derived(name, config, ttlMsDefault) ?? SETTINGS[name].fallback;
      return { key: name, value, source: "default", from: null };
    }
    return described(name, textOf(name, setting.value), setting.entry.place);
  });
  return [...backends, ...settings];
}

/** Defaults that depend on other values, as `options.ts` has them. */
function derived(
  name: SettingName,
  { backends, options: { maxTtlMs = DEFAULTS.maxTtlMs } }: Pick<Config, "backends" | "options">,
  ttlMsDefault: number,
): string | undefined {
  if (name === "quorum") return String(majority(Math.max(1, backends.length)));
  if (name === "ttl") return exactMs(Math.min(ttlMsDefault, maxTtlMs));
  return name === "clockSkew" ? exactMs(Math.min(DEFAULTS.clockSkewMs, maxTtlMs - 1)) : undefined;
}

/** A place in short. */
export function fromText(place: ConfigPlace): string {
  return place.kind === "file" ? `${place.file}:${place.line}:${place.column}` : place.name;
}

function described(key: string, value: string | null, place: ConfigPlace): DescribedValue {
  return { key, value, source: place.kind, from: fromText(place) };
}

function textOf(name: SettingName, value: string | number | boolean): string {
  return SETTINGS[name].type.kind === "duration" ? exactMs(Number(value)) : String(value);
}
