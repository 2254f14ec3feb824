/** What a kind of backend is to the configuration: how its URLs look, what it takes, and how it is opened. */
import type { Backend } from "../backend.js";
import type { ConfigError, ConfigPlace } from "../errors.js";
import type { FieldName } from "./schema.js";

/** The name of a kind. */
export type KindName =
  | "redis"
  | "postgres"
  | "mysql"
  | "mongodb"
  | "etcd"
  | "consul"
  | "zookeeper"
  | "memcached"
  | "sqlite"
  | "noop";

/** TLS as clients take it: PEM texts, not paths. */
export interface TlsSettings {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: false;
}

/** Properties of a backend, read and typed; what is not given is missing. */
export interface BackendFields {
  readonly name?: string;
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  readonly prefix?: string;
  readonly table?: string;
  readonly collection?: string;
  readonly durable?: boolean;
  readonly socket?: string;
  readonly authSource?: string;
  readonly replicaSet?: string;
  readonly directConnection?: boolean;
  readonly requestTimeoutMs?: number;
  readonly connectionsMax?: number;
  readonly dialect?: "mariadb" | "mysql";
  readonly synchronous?: "normal" | "full";
}

/** One backend, read and checked; nothing of it is opened yet. */
export interface BackendSettings {
  readonly kind: KindName;
  readonly scheme: string;
  /** Without secrets, for people. */
  readonly url: string;
  readonly place: ConfigPlace;
  /** At least one where the kind has hosts; with their ports. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** The path of a socket or file. */
  readonly path: string | undefined;
  readonly fields: BackendFields;
  /** Undefined without TLS. */
  readonly tls: TlsSettings | undefined;
  /** Every property that is given, for people. */
  readonly shown: readonly ShownField[];
}

/** A property as it may be shown, and where it was given. */
export interface ShownField {
  readonly name: FieldName;
  /** Undefined for a secret. */
  readonly text: string | undefined;
  readonly place: ConfigPlace;
}

/** A backend with the client that was opened for it. */
export interface OpenedBackend {
  readonly backend: Backend;
  /** Closes the client. After the locker was closed. */
  close(): Promise<void>;
}

/** One kind of backend. */
export interface Kind {
  readonly kind: KindName;
  /** By scheme, whether that means TLS. */
  readonly schemes: Readonly<Record<string, { readonly tls: boolean }>>;
  /** How its URLs look, for messages and docs. */
  readonly forms: string;
  /** The properties that it takes. */
  readonly fields: readonly FieldName[];
  /** "one", "many" or "none" hosts in a URL. */
  readonly hosts: "one" | "many" | "none";
  /** Of a host without one. */
  readonly port: number;
  /** What the path of the URL is. */
  readonly pathIs: "database" | "socket" | "file" | "nothing";
  /** The packages of which one must be installed; none for none. */
  readonly packages: readonly string[];
  /** Rules of its own. `refuse` makes the error for the property, or the URL where it came from there. */
  readonly check?: (
    settings: BackendSettings,
    refuse: (field: FieldName, rule: string) => ConfigError,
  ) => void;
  /** Connects nothing yet where the client allows. */
  readonly open: (settings: BackendSettings) => Promise<OpenedBackend>;
}

/** The fields of TLS, for kinds whose clients have it. */
export const TLS_FIELDS: readonly FieldName[] = [
  "tls",
  "tls.ca",
  "tls.cert",
  "tls.key",
  "tls.servername",
  "tls.rejectUnauthorized",
];

/** The fields of a login. */
export const LOGIN_FIELDS: readonly FieldName[] = ["user", "password", "passwordFile"];

/** Only the named properties, and of those only what is given: for options that must not be undefined. */
export function given<Name extends keyof BackendFields>(
  fields: BackendFields,
  ...names: readonly Name[]
): Pick<BackendFields, Name> {
  const entries = names.flatMap((name) =>
    fields[name] === undefined ? [] : [[name, fields[name]] as const],
  );
  return Object.fromEntries(entries) as Pick<BackendFields, Name>;
}
