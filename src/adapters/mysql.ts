/** MySQL and MariaDB through mysql2. */
import type { Backend, BackendSession, Capabilities, Deployment } from "../backend.js";
import { InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { serverOf, type MysqlLike } from "./mysql/client.js";
import { connect, type Dialect } from "./mysql/connection.js";
import { createTable } from "./mysql/statements.js";
import { mysqlStore } from "./mysql/store.js";
import { openMarkedSession } from "./shared/marked-session.js";
import { tableParts } from "./shared/sql-table.js";

export type { MysqlLike } from "./mysql/client.js";

/** Options of {@link mysql}. */
export interface MysqlBackendOptions {
  /** What messages and logs call it. Default: host, port and database. */
  readonly name?: string;
  /** The table of the locks, with its database if need be: `"locks.quorum_lock"`. Default "quorum_lock". */
  readonly table?: string;
  /** How many connections of its own it opens at most, when so many requests are under way. Default 4. */
  readonly connectionsMax?: number;
  /**
   * Whose statements to use: MariaDB's `RETURNING` answers a refused acquire in one round trip, where MySQL needs two.
   * Default: as the server's version says. Say "mysql" behind a proxy that hides it.
   */
  readonly dialect?: "mariadb" | "mysql";
}

const OPTIONS: ReadonlySet<string> = new Set<keyof MysqlBackendOptions>([
  "name",
  "table",
  "connectionsMax",
  "dialect",
]);
const TABLE = "quorum_lock";
const CONNECTIONS_MAX = 4;
const DIALECTS: readonly (Dialect | undefined)[] = ["mariadb", "mysql", undefined];

const CAPABILITIES: Capabilities = {
  earlyByMs: 0,
  lateByMs: 1,
  expiryClock: "wall",
  durable: true,
  lists: true,
  coalesces: "no",
  atomicStep: "one SQL statement",
  acquireRoundTrips: 1,
};

/**
 * A backend on one MariaDB 10.5+ or MySQL 8+ server with InnoDB, reached where the caller's pool or connection (of `mysql2` or
 * `mysql2/promise`) connects to, as the same user. The caller's own connections are never used, closed or
 * reconfigured; the backend opens a few of its own with safe settings, and closes them with the last session.
 *
 * Locks and counters survive restarts. A failover to a replica and a table that was emptied count as a loss of memory.
 *
 * @example
 * ```ts
 * import { createPool } from "mysql2/promise";
 * import { createLocker } from "quorum-lock";
 * import { mysql } from "quorum-lock/mysql";
 *
 * const pool = createPool("mysql://app@127.0.0.1:3306/app");
 * const locker = createLocker({ backends: [mysql(pool)] });
 * await locker.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function mysql(client: MysqlLike, options: MysqlBackendOptions = {}): Backend {
  const server = serverOf(client);
  refuseUnknownOptions(options, OPTIONS, "the options of mysql()");
  const parts = partsOf(options);
  const { name = server.name, connectionsMax = CONNECTIONS_MAX, dialect } = options;
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("mysql(…, { name })", "a non-empty string", name);
  }
  if (!Number.isInteger(connectionsMax) || connectionsMax < 1) {
    throw new InvalidOptionError("mysql(…, { connectionsMax })", "a whole number from 1", connectionsMax);
  }
  if (!DIALECTS.includes(dialect)) {
    throw new InvalidOptionError("mysql(…, { dialect })", '"mariadb" or "mysql"', dialect);
  }
  return {
    kind: "mysql",
    name,
    capabilities: CAPABILITIES,
    client,
    open(deployment: Deployment): BackendSession {
      const lanes = connect(client, server, connectionsMax);
      return openMarkedSession(mysqlStore(lanes, { name, deployment, tableParts: parts, dialect }), {
        name,
        deployment,
        markPlace: `the row with the empty key in the table ${parts.join(".")}`,
      });
    },
  };
}

/**
 * The statement that makes the table of {@link mysql}, for users who may not create tables; may be run again. The user
 * of the lock needs SELECT, INSERT, UPDATE and DELETE on it.
 *
 * @throws InvalidOptionError
 */
export function mysqlSchema(options: Pick<MysqlBackendOptions, "table"> = {}): string {
  return createTable(
    partsOf(options)
      .map((part) => `\`${part}\``)
      .join("."),
  );
}

function partsOf({ table = TABLE }: Pick<MysqlBackendOptions, "table">): readonly string[] {
  return tableParts("mysql(…, { table })", table);
}
