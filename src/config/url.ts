/** URLs of backends, taken apart by hand: several hosts in one, and messages that never show a password. */
import { refuse, type Entry } from "./entry.js";
import { ConfigError, show } from "../errors.js";

/** One server of a URL. */
export interface UrlHost {
  readonly host: string;
  /** Undefined for the usual one of its kind. */
  readonly port: number | undefined;
}

/** What a URL says. Nothing in it is encoded any more. */
export interface UrlParts {
  readonly scheme: string;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly hosts: readonly UrlHost[];
  /** With its slash; "" for none. */
  readonly path: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Before the colon of `sqlite:path` two letters at least, so that `C:\locks` is none. */
// No "@" after the login: it would belong to a password that is not encoded, and the rest of that would pass for a host.
const SERVER_FORM = /^([a-z][a-z0-9+.-]+):\/\/(?:([^@/?#]*)@)?([^/?#@]*)((?:\/[^?#@]*)?)(?:\?([^#@]*))?$/i;
const FILE_FORM = /^([a-z][a-z0-9+.-]+):()()((?!\/\/)[^?#]*)(?:\?([^#@]*))?$/i;
const HOST_FORM = /^(\[[0-9a-f:.]+(?:%[\w.-]+)?\]|[^:[\]\s]+)(?::(\d{1,5}))?$/i;
const PORT_MAX = 65_535;

/** Takes it apart. `forms` says how URLs look. Throws a `ConfigError`. */
export function splitUrl(entry: Entry, forms: string): UrlParts {
  const { text } = entry;
  if (/^[a-z][a-z0-9+.-]+:[^?]*#/i.test(text) || /[?].*#/.test(text)) {
    throw refuseUrl(entry, "a URL in which a # is written as %23");
  }
  const [matched, scheme = "", login, authority = "", path = "", query = ""] =
    SERVER_FORM.exec(text) ?? FILE_FORM.exec(text) ?? [];
  if (matched === undefined || /\s/.test(text)) {
    throw refuseUrl(entry, `a URL, with odd characters of a password as in %40 for @: ${forms}`);
  }
  const colon = login?.indexOf(":") ?? -1;
  const [user, password] =
    login === undefined || colon === -1
      ? [login, undefined]
      : [login.slice(0, colon), login.slice(colon + 1)];
  const plain = (part: string): string => decoded(entry, part);
  return {
    scheme: scheme.toLowerCase(),
    user: user === undefined || user === "" ? undefined : plain(user),
    password: password === undefined || password === "" ? undefined : plain(password),
    hosts: authority === "" ? [] : authority.split(",").map((each) => hostOf(entry, each)),
    path: plain(path),
    parameters: parametersOf(entry, query),
  };
}

/** The error for a URL that breaks its rule. */
export function refuseUrl(entry: Entry, rule: string): ConfigError {
  return entry.secret
    ? refuse(entry, rule)
    : new ConfigError(entry.place, rule, show(withoutSecrets(entry.text)));
}

/** Parameters whose values are no secret. */
const SHOWN_PARAMETER =
  /^(?:name|durable|prefix|db|database|table|collection|socket|tls(?:\.\w+)?|authSource|replicaSet|directConnection|requestTimeout|connectionsMax|dialect|synchronous|user|passwordFile)$/;

/** A URL as it may be shown: without user, password and the values of parameters that may be one. */
export function withoutSecrets(text: string): string {
  // By hand: it must work on what is no valid URL, and the password itself may hold an "@".
  const withoutLogin = text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1***@");
  const [, before = "", rest = ""] = /^([a-z][a-z0-9+.-]*:\/\/)?(.*)$/is.exec(withoutLogin) ?? [];
  // Where the "@" was forgotten, what follows a colon is no port.
  const safe =
    before === ""
      ? rest
      : rest.replace(/:(?!\d{1,5}(?:[/?#,]|$))(?![0-9a-f:.]*(?:%[\w.-]+)?\])[^/?#]*/is, ":***");
  return (
    before +
    safe.replace(/([?&])([^=&]*)=([^&]*)/gs, (whole, sign: string, name: string) =>
      SHOWN_PARAMETER.test(name) ? whole : `${sign}${name}=***`,
    )
  );
}

/** The URLs of a list. A comma between the hosts of one URL parts none. */
export function splitList(text: string): readonly string[] {
  return text.split(/,(?=\s*(?:[a-z][a-z0-9+.-]*:\/\/|sqlite:|noop:|memory:))/i).map((each) => each.trim());
}

function hostOf(entry: Entry, text: string): UrlHost {
  const [, host = "", port] = HOST_FORM.exec(text) ?? [];
  if (host === "" || Number(port ?? 0) > PORT_MAX) {
    throw refuseUrl(entry, "a URL with HOST or HOST:PORT, the port at most 65535");
  }
  // An IPv6 address stands in brackets in a URL only.
  return {
    host: decoded(entry, host.replace(/^\[|\]$/g, "")),
    port: port === undefined ? undefined : Number(port),
  };
}

function parametersOf(entry: Entry, query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const each of query === "" ? [] : query.split("&")) {
    const at = each.indexOf("=");
    const name = decoded(entry, at === -1 ? each : each.slice(0, at));
    if (parameters.has(name)) throw refuseUrl(entry, `a URL that gives the parameter ${name} once`);
    parameters.set(name, at === -1 ? "" : decoded(entry, each.slice(at + 1)));
  }
  return parameters;
}

function decoded(entry: Entry, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuseUrl(entry, "a URL in which a % is written as %25");
  }
}
