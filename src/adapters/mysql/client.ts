/** The part of mysql2 that the adapter uses, and where a caller's client connects to. */
import { InvalidOptionError } from "../../errors.js";

/** A pool or a connection of mysql2, of `mysql2` or `mysql2/promise`. Only where it connects to is read. */
export interface MysqlLike {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the flavours take different arguments
  query(...args: any[]): unknown;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  execute(...args: any[]): unknown;
}

/** What a statement that returns no rows came to. */
export interface MysqlResult {
  readonly affectedRows: number;
  readonly insertId: number | string;
}

/** A connection of the adapter's own. */
export interface OwnConnection {
  query(statement: object, done: (error: unknown, result: unknown) => void): unknown;
  on(event: "error" | "end", listener: (error?: unknown) => void): unknown;
  end(done: (error: unknown) => void): unknown;
  destroy(): void;
}

/** Makes connections of the adapter's own. */
export interface Server {
  /** Calls back once, in bounded time. */
  readonly open: (done: (error: unknown, connection: OwnConnection | undefined) => void) => void;
  /** Host, port and database, for messages. */
  readonly name: string;
}

interface CoreConfig {
  readonly clientFlags: number;
  readonly host: string;
  readonly port: number;
  readonly socketPath?: string;
  readonly database?: string;
}

interface CorePool {
  readonly config: { readonly connectionConfig: CoreConfig };
  getConnection(done: (error: unknown, connection: OwnConnection | undefined) => void): void;
}

interface CoreConnection extends OwnConnection {
  readonly config: CoreConfig;
  connect(done: (error: unknown) => void): void;
}

type Class<T> = new (options: { readonly config: object }) => T;

const CONNECT_MS_MAX = 1_000;
/** Affected rows are those that were changed, not those that were found. */
const FOUND_ROWS = 2;
const MULTI_STATEMENTS = 65_536;
const UTF8MB4_UNICODE_CI = 224;

/** Where the caller's client connects to, and as whom. Throws InvalidOptionError for what is no client of mysql2. */
export function serverOf(client: MysqlLike): Server {
  const core = coreOf(client);
  if (isPool(core)) {
    const { connectionConfig } = core.config;
    const Pool = core.constructor as Class<CorePool>;
    return {
      name: nameOf(connectionConfig),
      open(done): void {
        // A pool for one connection, since nothing else leads from a pool to the class of its connections.
        const config = {
          ...core.config,
          connectionConfig: safe(connectionConfig),
          connectionLimit: 1,
          maxIdle: 1,
        };
        new Pool({ config }).getConnection(done);
      },
    };
  }
  if (isConnection(core)) {
    const { config } = core;
    const Connection = classOf(core);
    return {
      name: nameOf(config),
      open(done): void {
        const connection = new Connection({ config: safe(config) });
        connection.on("error", () => undefined);
        connection.connect((error) => done(error, connection));
      },
    };
  }
  throw new InvalidOptionError("mysql(client)", "a pool or a connection of mysql2", client);
}

/** Ends an idle connection. In older versions a connection of a pool ends by another name. */
export function goodbye(connection: OwnConnection): void {
  const real: unknown = Reflect.get(connection, "_realEnd");
  const end = typeof real === "function" ? (real as OwnConnection["end"]) : connection.end;
  end.call(connection, () => undefined);
}

/** What a promise flavour wraps, or the client itself. */
function coreOf(client: unknown): unknown {
  if (typeof client !== "object" || client === null) return undefined;
  for (const inner of ["pool", "connection"]) {
    const core: unknown = Reflect.get(client, inner);
    if (isPool(core) || isConnection(core)) return core;
  }
  return client;
}

function isPool(core: unknown): core is CorePool {
  return (
    has(core, "getConnection") &&
    isObject(configOf(core)) &&
    isObject(Reflect.get(configOf(core) as object, "connectionConfig"))
  );
}

function isConnection(core: unknown): core is CoreConnection {
  return (
    has(core, "connect") &&
    has(core, "destroy") &&
    typeof Reflect.get((configOf(core) ?? {}) as object, "clientFlags") === "number"
  );
}

function has(core: unknown, method: string): boolean {
  return isObject(core) && typeof Reflect.get(core, method) === "function";
}

function configOf(core: unknown): unknown {
  return isObject(core) ? Reflect.get(core, "config") : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** A connection of a pool would look for its pool. */
function classOf(connection: CoreConnection): Class<CoreConnection> {
  const own = connection.constructor;
  return ("_pool" in connection ? Object.getPrototypeOf(own) : own) as Class<CoreConnection>;
}

/** The caller's settings, but for those that would change what statements mean, or wait without a bound. */
function safe(config: CoreConfig): object {
  const overrides = {
    connectTimeout: CONNECT_MS_MAX,
    clientFlags: config.clientFlags & ~FOUND_ROWS & ~MULTI_STATEMENTS,
    charsetNumber: UTF8MB4_UNICODE_CI,
    pool: undefined,
    queryFormat: undefined,
    typeCast: true,
    nestTables: undefined,
    namedPlaceholders: false,
    stringifyObjects: false,
    multipleStatements: false,
    gracefulEnd: true,
  };
  return Object.assign(Object.create(Object.getPrototypeOf(config) as object) as object, config, overrides);
}

function nameOf({ host, port, socketPath, database = "" }: CoreConfig): string {
  return `${socketPath ?? `${host}:${port}`}/${database}`;
}
