/** Backend URLs. Messages never show a password. */
import type { RedisBackendOptions } from "../adapters/redis.js";
import { show } from "../errors.js";
import { CommandLineError } from "./command-line-error.js";
import { EXIT } from "./exit-codes.js";

/** What `new Redis()` of ioredis needs to find the server. */
export interface RedisConnection {
  readonly host?: string;
  readonly port?: number;
  /** A unix socket. */
  readonly path?: string;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  readonly tls?: object;
}

/** Where a backend is, and what kind it is. */
export interface BackendAddress {
  readonly kind: "redis";
  readonly connection: RedisConnection;
  readonly backend: RedisBackendOptions;
}

const FORMS = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss://… (TLS) or redis+unix:///PATH[?db=DB]";
const REDIS_PORT = 6379;
const PARAMETERS = ["name", "durable", "prefix"] as const;

/**
 * Reads the URL of one `--backend`. Throws a {@link CommandLineError}.
 *
 * Parameters: `?name=` what messages call it, `&durable=true` for a server with `appendfsync always`, `&prefix=` before all keys.
 */
export function parseBackendUrl(text: string): BackendAddress {
  if (text === "memory:" || text.startsWith("memory:")) {
    throw new CommandLineError(
      EXIT.usage,
      `option --backend must be a server that other processes can reach; got ${show(text)}, which lives in one process ` +
        `only: it is what \`quorum-lock demo\` uses`,
    );
  }
  const url = parsed(text);
  if (url.hash !== "") throw refused("a URL in which a # is written as %23", text);
  switch (url.protocol) {
    case "redis:":
    case "rediss:":
      return { kind: "redis", connection: overTcp(url), backend: backendOptions(url, PARAMETERS) };
    case "redis+unix:":
      return {
        kind: "redis",
        connection: overUnixSocket(url),
        backend: backendOptions(url, [...PARAMETERS, "db"]),
      };
    default:
      throw refused(`one of ${FORMS}`, text);
  }
}

/** A URL as it may be shown: without user, password and the values of parameters that may be one. */
export function withoutSecrets(text: string): string {
  // By hand: it must work on what is no valid URL, and the password itself may hold an "@".
  const withoutUser = text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1***@");
  return withoutUser.replace(/([?&](?!(?:name|durable|prefix|db)=)[^=&]*=)[^&]*/gis, "$1***");
}

function parsed(text: string): URL {
  try {
    return new URL(text);
  } catch (cause) {
    // The cause holds the whole text, password included, and goes nowhere.
    void cause;
    throw refused(`a URL, with odd characters of a password as in %40 for @: ${FORMS}`, text);
  }
}

function overTcp(url: URL): RedisConnection {
  if (url.hostname === "") throw refused("a URL with a host", url.href);
  return {
    // An IPv6 address stands in brackets in a URL only.
    host: decoded(url, url.hostname).replace(/^\[|\]$/g, ""),
    port: url.port === "" ? REDIS_PORT : Number(url.port),
    ...credentials(url),
    db: database(url, url.pathname === "/" ? "" : url.pathname.slice(1)),
    ...(url.protocol === "rediss:" ? { tls: {} } : {}),
  };
}

function overUnixSocket(url: URL): RedisConnection {
  if (!["", "localhost"].includes(url.hostname) || url.pathname.length < 2) {
    throw refused("a URL with the path of a socket, such as redis+unix:///run/redis/redis.sock", url.href);
  }
  return {
    path: decoded(url, url.pathname),
    ...credentials(url),
    db: database(url, url.searchParams.get("db") ?? ""),
  };
}

function credentials(url: URL): Pick<RedisConnection, "username" | "password"> {
  return {
    ...(url.username === "" ? {} : { username: decoded(url, url.username) }),
    ...(url.password === "" ? {} : { password: decoded(url, url.password) }),
  };
}

function database(url: URL, text: string): number {
  if (text !== "" && !/^\d{1,5}$/.test(text))
    throw refused("a URL whose database is a number, such as /2", url.href);
  return Number(text);
}

function backendOptions(url: URL, known: readonly string[]): RedisBackendOptions {
  for (const parameter of url.searchParams.keys()) {
    if (!known.includes(parameter)) {
      throw refused(`a URL with no other parameters than ${known.join(", ")}`, url.href);
    }
    if (url.searchParams.getAll(parameter).length > 1) {
      throw refused(`a URL that gives the parameter ${parameter} once`, url.href);
    }
  }
  const name = url.searchParams.get("name");
  const prefix = url.searchParams.get("prefix");
  const durable = url.searchParams.get("durable") ?? "false";
  if (durable !== "true" && durable !== "false") {
    throw refused("a URL whose parameter durable is true or false", url.href);
  }
  return {
    ...(name === null ? {} : { name }),
    ...(prefix === null ? {} : { prefix }),
    durable: durable === "true",
  };
}

function decoded(url: URL, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused("a URL in which a % is written as %25", url.href);
  }
}

function refused(rule: string, text: string): CommandLineError {
  return new CommandLineError(
    EXIT.usage,
    `option --backend must be ${rule}; got ${show(withoutSecrets(text))}`,
  );
}
