/** What a program gives to `loadConfig`, as one more source. */
import { ConfigError, InvalidOptionError, show, type ConfigPlace } from "../errors.js";
import type { Entry } from "./entry.js";
import { nearest } from "./nearest.js";
import type { RawBackend, RawConfig } from "./raw.js";
import type { ConfiguredOptions } from "./read-config.js";
import { FIELD_NAMES, FIELDS, SETTING_NAMES, SETTINGS, type FieldName, type SettingName } from "./schema.js";

/** A backend as a program gives it: a URL, or a URL with properties, named as in files. */
export type BackendDescription = string | BackendProperties;

/** The properties are those of docs/configuration.md; `tls` may be an object with those of TLS. */
export interface BackendProperties {
  readonly url: string;
  readonly [property: string]: string | number | boolean | Readonly<Record<string, string | boolean>>;
}

/** What a program can configure. */
export interface CodeOptions extends ConfiguredOptions {
  /** Hides the lists of backends of all other sources. */
  readonly backends?: readonly BackendDescription[];
  /** Refuse locks that only this host knows. Default false. */
  readonly requireQuorum?: boolean;
}

/** Turns it into entries. Throws a `ConfigError`. */
export function readCode(options: CodeOptions): RawConfig {
  const settings = new Map<SettingName, Entry>();
  for (const name of SETTING_NAMES) {
    const option = SETTINGS[name].option ?? (name === "requireQuorum" ? name : undefined);
    const value: unknown = option === undefined ? undefined : Reflect.get(options, option);
    if (option === undefined || value === undefined) continue;
    settings.set(name, settingOf(name, option, value));
  }
  const { backends } = options;
  if (backends === undefined) return { settings, backends: undefined, fields: new Map() };
  if (!Array.isArray(backends)) throw new InvalidOptionError("backends", "a list of URLs", backends);
  const list = backends as readonly BackendDescription[];
  return {
    settings,
    backends: { place: at("backends"), backends: list.map(backendOf) },
    fields: new Map(),
  };
}

function at(name: string): ConfigPlace {
  return { kind: "code", name };
}

function settingOf(name: SettingName, option: string, value: unknown): Entry {
  const { kind } = SETTINGS[name].type;
  const wanted = kind === "duration" || kind === "whole" ? "number" : kind === "flag" ? "boolean" : "string";
  if (!isPlain(value) || typeof value !== wanted || Number.isNaN(value)) {
    throw new ConfigError(at(option), `a ${wanted}`, show(value));
  }
  const text = String(value);
  if (kind === "duration" && !/^\d+$/.test(text)) {
    throw new ConfigError(at(option), "a whole number of milliseconds", show(value));
  }
  return { text: kind === "duration" ? `${text}ms` : text, place: at(option), secret: false };
}

function backendOf(description: BackendDescription, index: number): RawBackend {
  const path = `backends[${index}]`;
  if (typeof description === "string") {
    return { url: { text: description, place: at(path), secret: false }, fields: new Map() };
  }
  if (typeof description !== "object" || description === null || typeof description.url !== "string") {
    throw new ConfigError(at(path), "a URL, or an object with a url", show(description));
  }
  const fields = new Map<FieldName, Entry>();
  for (const [name, value] of flat(description)) {
    if (name === "url" || value === undefined) continue;
    const field = FIELD_NAMES.find((each) => each === name);
    if (field === undefined) {
      const near = nearest(name, FIELD_NAMES);
      const rule =
        near === undefined ? `one of url, ${FIELD_NAMES.join(", ")}` : `spelt ${near}, if that is meant`;
      throw new ConfigError(at(path), rule, show(name));
    }
    if (!isPlain(value)) {
      throw new ConfigError(at(`${path}.${field}`), "a text, a number or true or false", typeof value);
    }
    const secret = FIELDS[field].type.kind === "secret";
    fields.set(field, { text: String(value), place: at(`${path}.${field}`), secret });
  }
  return { url: { text: description.url, place: at(`${path}.url`), secret: false }, fields };
}

function isPlain(value: unknown): value is string | number | boolean {
  return ["string", "number", "boolean"].includes(typeof value);
}

function flat(properties: BackendProperties): readonly (readonly [string, unknown])[] {
  return Object.entries(properties).flatMap(([name, value]) =>
    name === "tls" && typeof value === "object" && value !== null
      ? Object.entries(value).map(([each, inner]) => [`tls.${each}`, inner] as const)
      : [[name, value] as const],
  );
}
