/** One backend: its URL and the properties beside it, from all sources, to something that can be opened. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ConfigError, placeText, show, type ConfigPlace } from "../errors.js";
import { NOT_SHOWN, rankOf, refuse, type Entry } from "./entry.js";
import { kindOf, SCHEMES } from "./kinds.js";
import type { BackendFields, BackendSettings, Kind, ShownField, TlsSettings } from "./kind.js";
import type { RawBackend } from "./raw.js";
import { FIELD_NAMES, FIELDS, type FieldName } from "./schema.js";
import { refuseUrl, splitUrl, type UrlParts } from "./url.js";
import { readValue, type Value } from "./value.js";

/** How URLs look, in a line. */
const ANY_FORM =
  "redis://HOST, postgres://HOST/DB, mysql://HOST/DB, etcd://HOST, sqlite:PATH or one of docs/configuration.md";

/** A property with where it was given; `inUrl` when as a part of the URL. */
interface Given {
  readonly entry: Entry;
  readonly inUrl: boolean;
}

type GivenFields = ReadonlyMap<FieldName, Given>;

/** Reads it. `variables`: those of its number. Throws a `ConfigError`. */
export function readBackend(raw: RawBackend, variables: ReadonlyMap<FieldName, Entry>): BackendSettings {
  const { url } = raw;
  refuseMemory(url);
  const scheme = /^[a-z][a-z0-9+.-]+(?=:)/i.exec(url.text)?.[0].toLowerCase();
  const kind = kindOf(scheme ?? "");
  const parts = splitUrl(url, kind?.forms ?? ANY_FORM);
  if (kind === undefined)
    throw refuseUrl(url, `a URL that begins with ${listed(SCHEMES.map((each) => `${each}:`))}`);
  const given = mergeFields([urlFields(url, { kind, parts }), besideUrl(raw.fields), besideUrl(variables)]);
  for (const [field, { entry }] of given) {
    if (!kind.fields.includes(field))
      throw refuse({ ...entry, text: field, secret: false }, fieldsRule(kind));
  }
  const values = new Map([...given].map(([field, each]) => [field, valueOf(field, each)] as const));
  const settings = assemble({ kind, parts, url, given, values });
  kind.check?.(settings, (field, rule) => refuseField({ url, given }, field, rule));
  return settings;
}

function refuseMemory(url: Entry): void {
  if (!/^memory:/i.test(url.text)) return;
  throw refuse(
    { ...url, text: "memory:", secret: false },
    "a server that other processes can reach, not memory:, which lives in one process only: it is what `quorum-lock demo` uses",
  );
}

interface Read {
  readonly kind: Kind;
  readonly parts: UrlParts;
}

/** What the URL says of properties. */
function urlFields(url: Entry, { kind, parts }: Read): GivenFields {
  const fields = new Map<FieldName, Given>();
  const add = (field: FieldName, text: string): void => {
    if (fields.has(field)) throw refuseUrl(url, `a URL that gives the ${field} once`);
    const secret = FIELDS[field].type.kind === "secret";
    fields.set(field, { entry: { text, place: url.place, secret }, inUrl: true });
  };
  if (parts.user !== undefined) add("user", parts.user);
  if (parts.password !== undefined) add("password", parts.password);
  if (kind.pathIs === "database" && !isUnix(parts.scheme) && parts.path.length > 1)
    add("database", parts.path.slice(1));
  for (const [parameter, text] of parts.parameters) {
    const known = FIELD_NAMES.find((field) => field === parameter && kind.fields.includes(field));
    // A password in a parameter is seen by whoever looks at logs and lists of processes.
    if (known === undefined || known === "password") {
      const names = kind.fields.filter((field) => field !== "password");
      throw refuseUrl(url, `a URL with no other parameters than ${names.join(", ")}`);
    }
    add(known, text);
  }
  return fields;
}

function isUnix(scheme: string): boolean {
  return scheme.endsWith("+unix");
}

function besideUrl(fields: ReadonlyMap<FieldName, Entry>): GivenFields {
  return new Map([...fields].map(([field, entry]) => [field, { entry, inUrl: false }]));
}

/** The strongest source of each property. Two of the same strength contradict each other. */
function mergeFields(all: readonly GivenFields[]): GivenFields {
  const merged = new Map<FieldName, Given>();
  for (const fields of all) {
    for (const [field, given] of fields) {
      const rivals =
        field === "password"
          ? (["password", "passwordFile"] as const)
          : field === "passwordFile"
            ? (["passwordFile", "password"] as const)
            : [field];
      const rival = rivals.find((each) => merged.has(each));
      const before = rival === undefined ? undefined : merged.get(rival);
      if (rival === undefined || before === undefined) {
        merged.set(field, given);
        continue;
      }
      const [mine, other] = [rankOf(given.entry.place), rankOf(before.entry.place)];
      if (mine === other) throw twice({ field, given }, { field: rival, given: before });
      if (mine > other) continue;
      merged.delete(rival);
      merged.set(field, given);
    }
  }
  return merged;
}

interface Named {
  readonly field: FieldName;
  readonly given: Given;
}

function twice({ field, given }: Named, other: Named): ConfigError {
  const where = other.given.inUrl ? "in the URL" : `as ${other.field}`;
  const rule = `left out, since the ${field === "passwordFile" ? "password" : field} is there already (${where}, ${placeText(other.given.entry.place)})`;
  return refuse(given.entry, rule);
}

function fieldsRule({ schemes, fields }: Kind): string {
  return `one of the properties of ${Object.keys(schemes)[0]}: backends: ${fields.join(", ")}`;
}

function valueOf(field: FieldName, { entry, inUrl }: Given): Value {
  const { type } = FIELDS[field];
  try {
    return type.kind === "path" ? pathFrom(entry, String(readValue(entry, type))) : readValue(entry, type);
  } catch (error) {
    if (!(error instanceof ConfigError) || !inUrl) throw error;
    throw new ConfigError(entry.place, `a URL whose ${field} is ${error.rule}`, error.value);
  }
}

/** A path of a file begins at its folder, others at the working directory. */
function pathFrom({ place }: Pick<Entry, "place">, path: string): string {
  return place.kind === "file" ? resolve(dirname(place.file), path) : path;
}

interface Assembly extends Read {
  readonly url: Entry;
  readonly given: GivenFields;
  readonly values: ReadonlyMap<FieldName, Value>;
}

function assemble(assembly: Assembly): BackendSettings {
  const { kind, parts, url, given, values } = assembly;
  const path = pathOf(assembly);
  const hosts = hostsOf(assembly, path);
  const shown = [...given].map(([name, { entry }]): ShownField => {
    return { name, text: entry.secret ? undefined : entry.text, place: entry.place };
  });
  return {
    kind: kind.kind,
    scheme: parts.scheme,
    url: plainUrl(assembly, path),
    place: url.place,
    hosts,
    path,
    fields: fieldsOf(assembly),
    tls: tlsOf(assembly),
    shown: shown.filter(({ name }) => values.has(name)),
  };
}

/** The URL without everything that may be a secret, and without what is shown as a property. */
function plainUrl({ kind, parts }: Assembly, path: string | undefined): string {
  if (kind.hosts === "none") return `${parts.scheme}:${path ?? ""}`;
  const hosts = parts.hosts.map(({ host, port }) => {
    const name = host.includes(":") ? `[${host}]` : host;
    return port === undefined ? name : `${name}:${port}`;
  });
  return `${parts.scheme}://${hosts.join(",")}${isUnix(parts.scheme) ? parts.path : ""}`;
}

function pathOf({ kind, parts, url, values }: Assembly): string | undefined {
  if (kind.pathIs === "file") {
    if (parts.hosts.length > 0 || parts.path === "" || parts.path === "/" || parts.user !== undefined) {
      throw refuseUrl(url, `a URL with the path of a file, such as sqlite:/var/lib/locks.db`);
    }
    return pathFrom(url, parts.path);
  }
  if (isUnix(parts.scheme)) {
    const [host] = parts.hosts;
    const isLocal =
      host === undefined ||
      (parts.hosts.length === 1 && host.host === "localhost" && host.port === undefined);
    if (!isLocal || parts.path.length < 2) {
      throw refuseUrl(
        url,
        `a URL with the path of a socket, such as ${parts.scheme}:///run/redis/redis.sock`,
      );
    }
    return parts.path;
  }
  if (kind.hosts === "none") {
    if (parts.hosts.length === 0 && parts.path === "" && parts.user === undefined) return undefined;
    throw refuseUrl(url, `${parts.scheme}: alone, since there is no server`);
  }
  if (kind.pathIs === "nothing" && parts.path.length > 1) throw refuseUrl(url, "a URL without a path");
  return values.get("socket") as string | undefined;
}

function hostsOf({ kind, parts, url }: Assembly, path: string | undefined): BackendSettings["hosts"] {
  if (kind.hosts === "none" || isUnix(parts.scheme)) return [];
  if (parts.hosts.length === 0) {
    if (path !== undefined) return [];
    throw refuseUrl(url, `a URL with a host: ${kind.forms}`);
  }
  if (path !== undefined) throw refuseUrl(url, "a URL without a host, since there is a socket");
  if (kind.hosts === "one" && parts.hosts.length > 1) {
    throw refuseUrl(url, "a URL with one host: every server that votes is a backend of its own");
  }
  return parts.hosts.map(({ host, port }) => ({ host, port: port ?? kind.port }));
}

function fieldsOf({ given, values }: Assembly): BackendFields {
  const renamed: Partial<Record<FieldName, keyof BackendFields>> = { requestTimeout: "requestTimeoutMs" };
  const plain = [...values].flatMap(([name, value]) => {
    if (name === "passwordFile" || name === "tls" || name.startsWith("tls.")) return [];
    return [[renamed[name] ?? name, value] as const];
  });
  const file = given.get("passwordFile");
  const password =
    file === undefined
      ? []
      : [["password", secretIn(file.entry, String(values.get("passwordFile")))] as const];
  return Object.fromEntries([...plain, ...password]) as BackendFields;
}

function secretIn(entry: Entry, path: string): string {
  const text = readText(entry, path).replace(/\r?\n$/, "");
  if (text === "") throw refuse(entry, "a file with a password in it");
  return text;
}

function readText(entry: Entry, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw refuse(entry, `a file that can be read (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
}

function tlsOf({ kind, parts, url, given, values }: Assembly): TlsSettings | undefined {
  const byScheme = kind.schemes[parts.scheme]?.tls === true;
  const names = [...values.keys()].filter((name) => name.startsWith("tls."));
  const wanted = values.get("tls");
  if (wanted === false && byScheme)
    throw refuseField({ url, given }, "tls", `left out, or true, with ${parts.scheme}:`);
  if (wanted === false && names.length > 0)
    throw refuseField({ url, given }, "tls", `left out, or true, with ${names.join(", ")}`);
  if (!byScheme && wanted !== true && names.length === 0) return undefined;
  const pem = (name: "tls.ca" | "tls.cert" | "tls.key"): string | undefined => {
    const entry = given.get(name)?.entry;
    return entry === undefined ? undefined : pemIn(entry, String(values.get(name)));
  };
  const all = {
    ca: pem("tls.ca"),
    cert: pem("tls.cert"),
    key: pem("tls.key"),
    servername: values.get("tls.servername"),
    rejectUnauthorized: values.get("tls.rejectUnauthorized") === false ? false : undefined,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as TlsSettings;
}

function pemIn(entry: Entry, path: string): string {
  const text = readText(entry, path);
  if (!text.includes("-----BEGIN ")) throw refuse(entry, "a PEM file (-----BEGIN …)");
  return text;
}

/** The error for a property, at the URL where it came from there or is not given. */
function refuseField(
  { url, given }: { readonly url: Entry; readonly given: GivenFields },
  field: FieldName,
  rule: string,
): ConfigError {
  const found = given.get(field);
  if (found === undefined || found.inUrl) return refuseUrl(url, `a URL whose ${field} is ${rule}`);
  return refuse(found.entry, rule);
}

function listed(words: readonly string[]): string {
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/** The place of a property, for errors that show only when the backend is opened. */
export function placeOfField({ shown, place }: BackendSettings, field: string): ConfigPlace {
  return shown.find(({ name }) => name === field)?.place ?? place;
}

/** A value as an error may show it. */
export function shownValue(field: string, value: unknown): string {
  return field === "password" ? NOT_SHOWN : show(value);
}
