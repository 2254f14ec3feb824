/** The configuration in effect as people and programs may see it: every value with its source, no secret. */
import type { ConfigPlace } from "../errors.js";
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
export function describeConfig(config: Pick<Config, "settings" | "backends">): readonly DescribedValue[] {
  const backends = config.backends.flatMap(({ url, place, shown }, index): readonly DescribedValue[] => [
    described(`backends[${index}].url`, url, place),
    ...shown.map(({ name, text, place: from }) => described(`backends[${index}].${name}`, text ?? null, from)),
  ]);
  const settings = SETTING_NAMES.map((name): DescribedValue => {
    const setting = config.settings.get(name);
    if (setting === undefined) return { key: name, value: SETTINGS[name].fallback, source: "default", from: null };
    return described(name, textOf(name, setting.value), setting.entry.place);
  });
  return [...backends, ...settings];
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
