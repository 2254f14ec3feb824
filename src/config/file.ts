/** The YAML file. Every value keeps its line and column; `${NAME}` stands for a variable. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type * as yamlPackage from "yaml";
import type { LineCounter, Node, Scalar, YAMLMap } from "yaml";
import { ConfigError, MissingPackageError, show, type ConfigPlace } from "../errors.js";
import { NOT_SHOWN, refuse, type Entry } from "./entry.js";
import { entryOf, type Environment } from "./environment.js";
import { nearest } from "./nearest.js";
import { isMissing } from "./packages.js";
import { NOTHING, type RawBackend, type RawConfig } from "./raw.js";
import {
  FIELD_NAMES,
  FIELDS,
  SETTING_NAMES,
  variableOf,
  type FieldName,
  type SettingName,
} from "./schema.js";

/** What is read where no file is named: only in the working directory, never above it. */
export const FILE = "quorum-lock.yaml";

/** Which file is wanted, and by whom; undefined for the one in the working directory, if it is there. */
export interface WantedFile {
  readonly path: string;
  readonly place: ConfigPlace;
}

/** Reads the wanted file, or that of `QUORUM_LOCK_CONFIG`, or the one in the working directory. Throws a `ConfigError`. */
export function readFile(wanted: WantedFile | undefined, env: Environment): RawConfig {
  const named = wanted ?? namedBy(env);
  const path = named?.path ?? FILE;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (named === undefined && code === "ENOENT") return NOTHING;
    const place = named?.place ?? fileItself(path);
    throw new ConfigError(place, `a YAML file that can be read (${code})`, show(path));
  }
  return readYaml(text, path, env);
}

function namedBy(env: Environment): WantedFile | undefined {
  const entry = entryOf(env, variableOf("config"));
  return entry === undefined ? undefined : { path: entry.text, place: entry.place };
}

function fileItself(file: string): ConfigPlace {
  return { kind: "file", file, line: 1, column: 1, key: "the file" };
}

type Yaml = typeof yamlPackage;

interface Reader {
  readonly file: string;
  readonly env: Environment;
  readonly lines: LineCounter;
  readonly yaml: Yaml;
  /** Follows an alias. */
  readonly resolve: (node: unknown) => Node | null | undefined;
}

/** Reads the text of a file. Throws a `ConfigError`. */
export function readYaml(text: string, file: string, env: Environment): RawConfig {
  const yaml = loadYaml(file);
  const lines = new yaml.LineCounter();
  // Nothing but texts: a password of digits is not a number, and NO is no boolean.
  const document = yaml.parseDocument(text, {
    schema: "failsafe",
    lineCounter: lines,
    prettyErrors: false,
    logLevel: "silent",
  });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0]);
    const place = { kind: "file", file, line, column: col, key: "the file" } as const;
    // Not the parser's own message, which shows what stands there: it may be a password.
    throw new ConfigError(place, "YAML", problem.code.toLowerCase().replaceAll("_", " "));
  }
  const reader: Reader = {
    file,
    env,
    lines,
    yaml,
    resolve: (node) => (yaml.isAlias(node) ? node.resolve(document) : (node as Node | null | undefined)),
  };
  if (document.contents === null) return NOTHING;
  return readTop(reader, document.contents);
}

function loadYaml(file: string): Yaml {
  try {
    return createRequire(import.meta.url)("yaml") as Yaml;
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new MissingPackageError(["yaml"], `reading ${file} needs`, { cause: error });
  }
}

function readTop(reader: Reader, top: Node): RawConfig {
  const settings = new Map<SettingName, Entry>();
  let backends: RawConfig["backends"];
  const known = [...SETTING_NAMES, "backends"];
  for (const { name, key, value } of pairs(reader, top, "the file")) {
    if (name === "backends") {
      backends = { place: placeOf(reader, key, "backends"), backends: readBackends(reader, value, key) };
      continue;
    }
    const setting = SETTING_NAMES.find((each) => each === name);
    if (setting === undefined) throw unknownKey(reader, { key, name, path: name, known });
    settings.set(setting, textOf(reader, value, { key, path: name, secret: false }));
  }
  return { settings, backends, fields: new Map() };
}

function readBackends(reader: Reader, value: Node | null | undefined, key: Node): readonly RawBackend[] {
  if (!reader.yaml.isSeq(value)) {
    throw new ConfigError(
      placeOf(reader, value ?? key, "backends"),
      "a list of backends, each with a dash",
      what(reader, value),
    );
  }
  return value.items.map((item, index) => {
    const path = `backends[${index}]`;
    const node = reader.resolve(item);
    if (reader.yaml.isScalar(node)) {
      return { url: textOf(reader, node, { key: node, path, secret: false }), fields: new Map() };
    }
    return readBackend(reader, node, { path, list: key });
  });
}

function readBackend(
  reader: Reader,
  node: Node | null | undefined,
  { path, list }: { readonly path: string; readonly list: Node },
): RawBackend {
  let url: Entry | undefined;
  const fields = new Map<FieldName, Entry>();
  const at = node ?? list;
  const readFields = (map: Node, prefix: string): void => {
    for (const { name, key, value } of pairs(reader, map, path)) {
      const full = `${prefix}${name}`;
      const keyPath = `${path}.${full}`;
      if (full === "url") {
        url = textOf(reader, value, { key, path: keyPath, secret: false });
        continue;
      }
      const field = FIELD_NAMES.find((each) => each === full);
      if (field === undefined) {
        const known = ["url", ...FIELD_NAMES].filter((each) => each.startsWith(prefix));
        throw unknownKey(reader, { key, name: full, path: keyPath, known });
      }
      if (field === "tls" && reader.yaml.isMap(value)) readFields(value, "tls.");
      else {
        const secret = FIELDS[field].type.kind === "secret";
        fields.set(field, textOf(reader, value, { key, path: keyPath, secret }));
      }
    }
  };
  readFields(at === list ? refuseNothing(reader, list, path) : at, "");
  if (url === undefined)
    throw new ConfigError(placeOf(reader, at, path), "a URL, or have a key url", what(reader, node));
  return { url, fields };
}

function refuseNothing(reader: Reader, list: Node, path: string): never {
  throw new ConfigError(placeOf(reader, list, path), "a URL, or have a key url", "nothing");
}

interface Pair {
  readonly name: string;
  readonly key: Node;
  readonly value: Node | null | undefined;
}

function pairs(reader: Reader, node: Node, path: string): readonly Pair[] {
  if (!reader.yaml.isMap(node)) {
    throw new ConfigError(placeOf(reader, node, path), "a map of keys and values", what(reader, node));
  }
  return (node as YAMLMap<Node, Node>).items.map(({ key, value }) => {
    if (!reader.yaml.isScalar(key))
      throw new ConfigError(placeOf(reader, key, path), "a map with plain keys", what(reader, key));
    return { name: String((key as Scalar).value), key, value: reader.resolve(value) };
  });
}

interface TextPlace {
  readonly key: Node;
  readonly path: string;
  readonly secret: boolean;
}

function textOf(reader: Reader, node: Node | null | undefined, { key, path, secret }: TextPlace): Entry {
  const place = placeOf(reader, node ?? key, path);
  if (!reader.yaml.isScalar(node)) {
    throw new ConfigError(place, "one value", secret ? NOT_SHOWN : what(reader, node));
  }
  const text = typeof node.value === "string" ? node.value : "";
  // A URL may hold a password, wherever that comes from.
  const isUrl = /^backends\[\d+\](?:\.url)?$/.test(path);
  return interpolated({ text, place, secret }, { env: reader.env, secretThen: secret || isUrl });
}

/** `${NAME}` stands for the variable of that name, `$${` for `${` itself. */
function interpolated(
  entry: Entry,
  { env, secretThen }: { readonly env: Environment; readonly secretThen: boolean },
): Entry {
  let secret = entry.secret;
  const text = entry.text.replace(
    /(\$)?\$\{([^}]*)\}/g,
    (whole, escaped: string | undefined, name: string) => {
      if (escaped !== undefined) return whole.slice(1);
      if (!/^[A-Za-z_]\w*$/.test(name))
        throw refuse(
          { ...entry, text: whole },
          "a text in which ${NAME} names a variable, and $${ stands for ${ itself",
        );
      const value = env[name];
      if (value === undefined) {
        // The name of a variable is no secret.
        throw new ConfigError(entry.place, `made of variables that are set`, `\${${name}}, which is not`);
      }
      secret = secretThen;
      return value;
    },
  );
  return { ...entry, text, secret };
}

function unknownKey(
  reader: Reader,
  {
    key,
    name,
    path,
    known,
  }: { readonly key: Node; readonly name: string; readonly path: string; readonly known: readonly string[] },
): ConfigError {
  const near = nearest(name, known);
  const rule = near === undefined ? `one of ${known.join(", ")}` : `spelt ${near}, if that is meant`;
  return new ConfigError(placeOf(reader, key, path), rule, show(name));
}

function placeOf({ file, lines }: Reader, node: Node, key: string): ConfigPlace {
  const { line, col } = lines.linePos(node.range?.[0] ?? 0);
  return { kind: "file", file, line: Math.max(1, line), column: Math.max(1, col), key };
}

function what({ yaml }: Reader, node: unknown): string {
  if (node === null || node === undefined) return "nothing";
  return yaml.isMap(node) ? "a map" : yaml.isSeq(node) ? "a list" : "one value";
}
