/** The variables `QUORUM_LOCK_…`. */
import { ConfigError, show } from "../errors.js";
import { refuse, type Entry } from "./entry.js";
import { nearest } from "./nearest.js";
import type { RawConfig } from "./raw.js";
import {
  FIELD_NAMES,
  FIELDS,
  fieldVariableOf,
  SETTING_NAMES,
  variableOf,
  type FieldName,
  type SettingName,
} from "./schema.js";
import { splitList } from "./url.js";

/** Variables by name, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

const FIELD_VARIABLE = /^QUORUM_LOCK_BACKEND_(\d{1,2})_(\w+)$/;

/** Reads them. An empty variable counts as none. Throws a `ConfigError`. */
export function readEnvironment(env: Environment): RawConfig {
  refuseMisspelt(env);
  const settings = new Map<SettingName, Entry>();
  for (const setting of SETTING_NAMES) {
    const entry = entryOf(env, variableOf(setting));
    if (entry !== undefined) settings.set(setting, entry);
  }
  const list = entryOf(env, variableOf("backends"));
  return {
    settings,
    backends:
      list === undefined
        ? undefined
        : {
            place: list.place,
            backends: splitList(list.text).map((text) => ({ url: { ...list, text }, fields: new Map() })),
          },
    fields: fieldsOf(env),
  };
}

/** The variable with that name as an entry; undefined where it is not set, or empty. */
export function entryOf(env: Environment, name: string): Entry | undefined {
  const text = env[name];
  if (text === undefined || text.trim() === "") return undefined;
  return { text: text.trim(), place: { kind: "variable", name }, secret: false };
}

function fieldsOf(env: Environment): RawConfig["fields"] {
  const fields = new Map<number, Map<FieldName, Entry>>();
  for (const name of Object.keys(env)) {
    const number = Number(FIELD_VARIABLE.exec(name)?.[1] ?? Number.NaN);
    const field = FIELD_NAMES.find((each) => fieldVariableOf(number, each) === name);
    if (field === undefined) continue;
    const secret = FIELDS[field].type.kind === "secret";
    const text = env[name] ?? "";
    // A password may begin or end with a blank.
    const entry =
      secret && text !== "" ? { text, place: { kind: "variable", name } as const } : entryOf(env, name);
    if (entry === undefined) continue;
    if (number === 0) throw refuse({ ...entry, secret }, "named with the number of a backend, from 1");
    fields.set(number, (fields.get(number) ?? new Map<FieldName, Entry>()).set(field, { ...entry, secret }));
  }
  return fields;
}

/**
 * Only what is nearly a known name: other programs have variables that begin the same, Kubernetes among them, and `run` sets
 * two itself.
 */
function refuseMisspelt(env: Environment): void {
  const known = [...SETTING_NAMES, "backends" as const, "config" as const].map(variableOf);
  for (const name of Object.keys(env)) {
    const field = FIELD_VARIABLE.exec(name);
    const names = field === null ? known : FIELD_NAMES.map((each) => fieldVariableOf(Number(field[1]), each));
    if (!name.startsWith("QUORUM_LOCK_") || names.includes(name)) continue;
    const shared = field === null ? "QUORUM_LOCK_".length : name.length - (field[2] ?? "").length;
    const tails = names.map((each) => each.slice(shared));
    const near = nearest(name.slice(shared), tails, 3);
    if (near === undefined) continue;
    throw new ConfigError(
      { kind: "variable", name },
      `spelt ${name.slice(0, shared)}${near}, if that is meant, or named otherwise`,
      show(name),
    );
  }
}
