/** PostgreSQL through pg. */
import type { Backend, BackendSession, Capabilities, Deployment } from "../backend.js";
import { InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { serverOf, type PostgresLike } from "./postgres/client.js";
import { connect } from "./postgres/connection.js";
import { createInbox } from "./postgres/inbox.js";
import { createTable } from "./postgres/statements.js";
import { postgresStore } from "./postgres/store.js";
import { openMarkedSession } from "./shared/marked-session.js";
import { tableParts } from "./shared/sql-table.js";

export type { PostgresClientLike, PostgresLike, PostgresPoolLike } from "./postgres/client.js";

/** Options of {@link postgres}. */
export interface PostgresBackendOptions {
  /** What messages and logs call it. Default: host, port and database. */
  readonly name?: string;
  /** The table of the locks, with its schema if need be: `"locks.quorum_lock"`. Case matters. Default "quorum_lock". */
  readonly table?: string;
  /** How many connections of its own it opens at most, when so many requests are under way. Default 4. */
  readonly connectionsMax?: number;
}

const OPTIONS: ReadonlySet<string> = new Set<keyof PostgresBackendOptions>([
  "name",
  "table",
  "connectionsMax",
]);
const TABLE = "quorum_lock";
const CONNECTIONS_MAX = 4;

const CAPABILITIES: Capabilities = {
  earlyByMs: 0,
  lateByMs: 1,
  expiryClock: "wall",
  durable: true,
  lists: true,
  wakes: true,
  coalesces: "statement",
  atomicStep: "one SQL statement",
  acquireRoundTrips: 1,
};

/**
 * A backend on one PostgreSQL 12+ server, reached where the caller's Pool or Client connects to, as the same user. The
 * caller's own connections are never used, closed or reconfigured: they may have any isolation level and no bound, and may
 * be busy; the backend opens a few of its own with safe settings, and closes them with the last session.
 *
 * Locks and counters survive restarts. A failover to a standby, a restore to a point in time, and a table that was
 * emptied or is unlogged and met a crash count as a loss of memory.
 *
 * @example
 * ```ts
 * import { Pool } from "pg";
 * import { createLocker } from "quorum-lock";
 * import { postgres } from "quorum-lock/postgres";
 *
 * const pool = new Pool({ connectionString: "postgres://app@127.0.0.1:5432/app" });
 * const locker = createLocker({ backends: [postgres(pool)] });
 * await locker.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function postgres(client: PostgresLike, options: PostgresBackendOptions = {}): Backend {
  const server = serverOf(client);
  refuseUnknownOptions(options, OPTIONS, "the options of postgres()");
  const table = quoted(options);
  const { name = server.name, connectionsMax = CONNECTIONS_MAX } = options;
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("postgres(…, { name })", "a non-empty string", name);
  }
  if (!Number.isInteger(connectionsMax) || connectionsMax < 1) {
    throw new InvalidOptionError("postgres(…, { connectionsMax })", "a whole number from 1", connectionsMax);
  }
  return {
    kind: "postgres",
    name,
    capabilities: CAPABILITIES,
    client,
    open(deployment: Deployment): BackendSession {
      const inbox = createInbox(server);
      const store = postgresStore(connect(client, server, connectionsMax), {
        name,
        table,
        deployment,
        inbox,
      });
      return openMarkedSession(store, {
        name,
        deployment,
        markPlace: `the row with the empty key in the table ${table}`,
      });
    },
  };
}

/**
 * The statement that makes the table of {@link postgres}, for users who may not create tables; may be run again. The
 * user of the lock needs SELECT, INSERT, UPDATE and DELETE on it.
 *
 * @throws InvalidOptionError
 */
export function postgresSchema(options: Pick<PostgresBackendOptions, "table"> = {}): string {
  return createTable(quoted(options));
}

function quoted({ table = TABLE }: Pick<PostgresBackendOptions, "table">): string {
  return tableParts("postgres(…, { table })", table)
    .map((part) => `"${part}"`)
    .join(".");
}
