/** The part of pg that the adapter uses, and where a caller's client connects to. */
import { InvalidOptionError } from "../../errors.js";

/** A `Pool` of pg. Only its options are read; structural, so that no client is imported. */
export interface PostgresPoolLike {
  readonly options: object;
  query(text: string): Promise<unknown>;
}

/** A `Client` of pg, connected or not. Only where it connects to is read. */
export interface PostgresClientLike {
  readonly host: string;
  readonly port: number;
  query(text: string): Promise<unknown>;
}

/** What the adapter takes. */
export type PostgresLike = PostgresPoolLike | PostgresClientLike;

/** A connection of the adapter's own: a `Client` of pg. */
export interface OwnClient {
  readonly connection: { readonly stream: { destroy(): unknown } };
  connect(): Promise<unknown>;
  query(config: object): Promise<unknown>;
  end(): Promise<unknown>;
  on(event: "error" | "end", listener: (error?: unknown) => void): unknown;
  on(event: "notification", listener: (message: { readonly payload?: string }) => void): unknown;
}

/** Makes a connection of the adapter's own, not connected yet. */
export interface Server {
  readonly make: (settings: object) => OwnClient;
  /** Host, port and database, for messages. */
  readonly name: string;
}

type ClientClass = new (config: object) => OwnClient;

/** Where the caller's client connects to, and as whom. Throws InvalidOptionError for what is no client of pg. */
export function serverOf(client: PostgresLike): Server {
  const Client = classOf(client);
  if (Client === undefined) {
    throw new InvalidOptionError("postgres(client)", "a Pool or a Client of pg, not a native one", client);
  }
  const config = configOf(client);
  const make = (settings: object): OwnClient => new Client({ ...config, ...settings });
  return { make, name: nameOf(make({})) };
}

function classOf(client: PostgresLike): ClientClass | undefined {
  if (typeof client !== "object" || client === null || typeof client.query !== "function") return undefined;
  const found: unknown = isPool(client) ? Reflect.get(client, "Client") : client.constructor;
  if (typeof found !== "function") return undefined;
  const { prototype } = found as { prototype: unknown };
  // A native client has no stream that could be destroyed under a server that hangs.
  const known = typeof prototype === "object" && prototype !== null && "_handleReadyForQuery" in prototype;
  return known ? (found as ClientClass) : undefined;
}

function isPool(client: PostgresLike): client is PostgresPoolLike {
  return "options" in client && typeof client.options === "object" && client.options !== null;
}

/** Passwords and private keys are there, but do not show when an object is listed. */
function configOf(client: PostgresLike): object {
  if (isPool(client)) {
    const { options } = client;
    const hidden = ["password", "ssl"].filter((name) => Reflect.get(options, name) !== undefined);
    return { ...options, ...Object.fromEntries(hidden.map((name) => [name, Reflect.get(options, name)])) };
  }
  const read = (name: string): unknown => Reflect.get(client, name);
  const parameters: unknown = read("connectionParameters");
  const parameter = (name: string): unknown =>
    typeof parameters === "object" && parameters !== null ? Reflect.get(parameters, name) : undefined;
  return {
    host: read("host"),
    port: read("port"),
    user: read("user"),
    database: read("database"),
    password: read("password") ?? undefined,
    ssl: read("ssl"),
    sslnegotiation: parameter("sslnegotiation"),
    options: parameter("options"),
    application_name: parameter("application_name"),
  };
}

function nameOf(client: OwnClient): string {
  const read = (name: string): string => String(Reflect.get(client, name) ?? "");
  return `${read("host")}:${read("port")}/${read("database")}`;
}
