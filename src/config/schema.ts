/**
 * Everything that can be configured: the one table that the readers of files, variables, URLs and options of the command
 * line, the command `config` and docs/configuration.md read. Rules about figures are those of `options.ts`.
 */
import { DEFAULTS, LIMITS, type LockerOptions } from "../options.js";
import { exactMs } from "./duration.js";

/** How a value is written. */
export type ValueType =
  | { readonly kind: "duration"; readonly minMs: number; readonly maxMs: number }
  | { readonly kind: "whole"; readonly min: number; readonly max: number }
  | { readonly kind: "word"; readonly words: readonly string[] }
  | { readonly kind: "flag" }
  | { readonly kind: "text" }
  /** Never shown. */
  | { readonly kind: "secret" }
  /** The path of a file; one of a YAML file begins at the folder of that file. */
  | { readonly kind: "path" };

/** A setting of the whole locker. */
export interface SettingSpec {
  readonly type: ValueType;
  /** The option of `createLocker` that it becomes. */
  readonly option?: keyof LockerOptions;
  /** The command line has an option for it, named after it. */
  readonly flag?: true;
  /** For people; what happens without it. */
  readonly fallback: string;
  /** For the docs: one sentence. */
  readonly about: string;
}

/** The name of a setting, as files have it. */
export type SettingName =
  | "ttl"
  | "wait"
  | "quorum"
  | "maxTtl"
  | "clockSkew"
  | "restartGuard"
  | "driftPpm"
  | "tokenRetention"
  | "retryDelayMin"
  | "retryDelayMax"
  | "logLevel"
  | "requireQuorum";

const ttlMs = { min: LIMITS.ttlMsMin, max: LIMITS.maxTtlMsMax };

/** All settings but the backends, in the order in which they are shown. */
export const SETTINGS: Readonly<Record<SettingName, SettingSpec>> = {
  ttl: {
    type: { kind: "duration", minMs: ttlMs.min, maxMs: ttlMs.max },
    option: "ttlMs",
    flag: true,
    fallback: exactMs(DEFAULTS.ttlMs),
    about:
      "How long a lock outlives a crash of its holder; it is extended meanwhile. Default for `quorum-lock run`: 30s.",
  },
  wait: {
    type: { kind: "duration", minMs: 0, maxMs: LIMITS.waitMsMax },
    option: "waitMs",
    flag: true,
    fallback: exactMs(DEFAULTS.waitMs),
    about: "How long to wait for a lock that somebody else holds; 0 tries once.",
  },
  quorum: {
    type: { kind: "whole", min: 1, max: LIMITS.backendsMax },
    option: "quorum",
    flag: true,
    fallback: "a majority",
    about: "How many backends decide. The same for all users of these backends.",
  },
  maxTtl: {
    type: { kind: "duration", minMs: ttlMs.min, maxMs: ttlMs.max },
    option: "maxTtlMs",
    flag: true,
    fallback: exactMs(DEFAULTS.maxTtlMs),
    about: "The longest TTL that any user asks for. The same for all users of these backends.",
  },
  clockSkew: {
    type: { kind: "duration", minMs: 0, maxMs: LIMITS.clockSkewMsMax },
    option: "clockSkewMs",
    flag: true,
    fallback: exactMs(DEFAULTS.clockSkewMs),
    about: "How much the wall clocks of clients and backends may differ.",
  },
  restartGuard: {
    type: { kind: "word", words: ["auto", "strict", "off"] },
    option: "restartGuard",
    flag: true,
    fallback: DEFAULTS.restartGuard,
    about: "What happens when servers restart and forget locks.",
  },
  driftPpm: {
    type: { kind: "whole", min: 0, max: LIMITS.driftPpmMax },
    option: "driftPpm",
    fallback: String(DEFAULTS.driftPpm),
    about: "How much faster or slower than true time a clock may run, in parts per million.",
  },
  tokenRetention: {
    type: { kind: "duration", minMs: 0, maxMs: LIMITS.tokenRetentionMsMax },
    option: "tokenRetentionMs",
    fallback: exactMs(DEFAULTS.tokenRetentionMs),
    about: "For how long backends keep a key's counter after its last use.",
  },
  retryDelayMin: {
    type: { kind: "duration", minMs: 1, maxMs: LIMITS.retryDelayMsMax },
    option: "retryDelayMsMin",
    fallback: exactMs(DEFAULTS.retryDelayMsMin),
    about: "The shortest pause between two attempts.",
  },
  retryDelayMax: {
    type: { kind: "duration", minMs: 1, maxMs: LIMITS.retryDelayMsMax },
    option: "retryDelayMsMax",
    fallback: exactMs(DEFAULTS.retryDelayMsMax),
    about: "The longest pause between two attempts.",
  },
  logLevel: {
    type: { kind: "word", words: ["debug", "info", "warn", "error"] },
    flag: true,
    fallback: "no log",
    about: "The command line logs JSON on stderr from this level on; needs pino. Not used by `loadConfig`.",
  },
  requireQuorum: {
    type: { kind: "flag" },
    flag: true,
    fallback: "false",
    about: "Refuse locks that only this host knows: the embedded default, and SQLite files alone.",
  },
};

/** A property of one backend. */
export interface FieldSpec {
  readonly type: ValueType;
  readonly about: string;
}

/** The name of a property of a backend, as files, variables and URLs have it. */
export type FieldName =
  | "name"
  | "user"
  | "password"
  | "passwordFile"
  | "database"
  | "prefix"
  | "table"
  | "collection"
  | "durable"
  | "socket"
  | "tls"
  | "tls.ca"
  | "tls.cert"
  | "tls.key"
  | "tls.servername"
  | "tls.rejectUnauthorized"
  | "authSource"
  | "replicaSet"
  | "directConnection"
  | "requestTimeout"
  | "connectionsMax"
  | "dialect"
  | "synchronous";

/** All properties of a backend, beside its `url`. Which kind takes which stands with the kind. */
export const FIELDS: Readonly<Record<FieldName, FieldSpec>> = {
  name: { type: { kind: "text" }, about: "What messages call it." },
  user: { type: { kind: "text" }, about: "Who logs in." },
  password: { type: { kind: "secret" }, about: "The password; for Consul its ACL token. Never shown." },
  passwordFile: {
    type: { kind: "path" },
    about: "The file that holds the password; a line break at its end is left out.",
  },
  database: { type: { kind: "text" }, about: "The database; for Redis its number." },
  prefix: { type: { kind: "text" }, about: "What is put before all keys." },
  table: { type: { kind: "text" }, about: "The table of the locks." },
  collection: { type: { kind: "text" }, about: "The collection of the locks." },
  durable: {
    type: { kind: "flag" },
    about: "A plain restart keeps what was acknowledged (`appendfsync always`).",
  },
  socket: {
    type: { kind: "path" },
    about: "A unix socket instead of host and port; for PostgreSQL its folder.",
  },
  tls: { type: { kind: "flag" }, about: "Use TLS. Any other property of TLS means so too." },
  "tls.ca": {
    type: { kind: "path" },
    about: "The PEM file of the authority that signs the server's certificate.",
  },
  "tls.cert": { type: { kind: "path" }, about: "The PEM file of the client's certificate." },
  "tls.key": { type: { kind: "path" }, about: "The PEM file of the client's private key." },
  "tls.servername": {
    type: { kind: "text" },
    about: "The name in the server's certificate, where it is not the host's.",
  },
  "tls.rejectUnauthorized": {
    type: { kind: "flag" },
    about:
      "`false` takes any certificate, so that anybody in between can read and change everything. A warning is printed.",
  },
  authSource: {
    type: { kind: "text" },
    about: "The database of the user; the database of the URL, or admin.",
  },
  replicaSet: { type: { kind: "text" }, about: "The name of the replica set." },
  directConnection: { type: { kind: "flag" }, about: "Talk to this one server, whatever set it is of." },
  requestTimeout: {
    type: { kind: "duration", minMs: 1, maxMs: 60_000 },
    about: "How long one request may take.",
  },
  connectionsMax: {
    type: { kind: "whole", min: 1, max: 1000 },
    about: "How many connections are opened at most.",
  },
  dialect: {
    type: { kind: "word", words: ["mariadb", "mysql"] },
    about: "Whose statements to use, where a proxy hides the version.",
  },
  synchronous: { type: { kind: "word", words: ["normal", "full"] }, about: "When a grant is on disk." },
};

const PREFIX = "QUORUM_LOCK_";

/** The variable of a setting: `QUORUM_LOCK_MAX_TTL`. */
export function variableOf(setting: SettingName | "backends" | "config"): string {
  return `${PREFIX}${upper(setting)}`;
}

/** The option of the command line of a setting: `--max-ttl`. */
export function flagOf(setting: SettingName): string {
  return `--${setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** The variable of a property of the backend with this number, from 1: `QUORUM_LOCK_BACKEND_1_TLS_CA`. */
export function fieldVariableOf(number: number, field: FieldName): string {
  return `${PREFIX}BACKEND_${number}_${upper(field)}`;
}

function upper(name: string): string {
  return name
    .replace(".", "_")
    .replace(/[A-Z]/g, (letter) => `_${letter}`)
    .toUpperCase();
}

/** All settings, typed. */
export const SETTING_NAMES: readonly SettingName[] = Object.keys(SETTINGS) as SettingName[];
/** All properties of a backend, typed. */
export const FIELD_NAMES: readonly FieldName[] = Object.keys(FIELDS) as FieldName[];
