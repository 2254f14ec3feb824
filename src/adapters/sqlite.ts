/** One host: a lock between its processes in a SQLite file, through better-sqlite3, libsql or node:sqlite. */
import { basename } from "node:path";
import type { Backend, BackendSession, Capabilities, Deployment } from "../backend.js";
import { InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { openMarkedSession } from "./shared/marked-session.js";
import { tableParts } from "./shared/sql-table.js";
import { fileOf, type SqliteLike } from "./sqlite/client.js";
import { thisHost } from "./sqlite/host.js";
import { createTable, sqliteStore } from "./sqlite/store.js";

export type { SqliteLike } from "./sqlite/client.js";

/** Options of {@link sqlite}. */
export interface SqliteBackendOptions {
  /** What messages and logs call it. Default: the name of the file. */
  readonly name?: string;
  /** The table of the locks. Default "quorum_lock". */
  readonly table?: string;
  /**
   * When a grant is on disk. "normal" (default): it outlives any crash of processes; a power cut may lose the counters of
   * the last moments, and the order of tokens hangs on the wall clock afterwards. "full": it outlives a power cut,
   * at one sync of the disk for each write. Locks themselves need neither: who held one died with the host.
   */
  readonly synchronous?: "normal" | "full";
}

const OPTIONS: ReadonlySet<string> = new Set<keyof SqliteBackendOptions>(["name", "table", "synchronous"]);
const TABLE = "quorum_lock";

/**
 * A backend in the file of an open database, for the processes of **one host**. Any number of processes may use it at
 * once. The caller's database is never used, closed or reconfigured; the backend opens the file a second time, with
 * the same client.
 *
 * Locks end by the host's monotonic clock, which nobody can set. After a start of the host all locks are free at once: every
 * process that held one is gone. A file that was deleted or replaced counts as a loss of memory. Several files of one
 * host are one failure domain, and no quorum worth the name.
 *
 * @example
 * ```ts
 * import Database from "libsql";
 * import { createLocker } from "quorum-lock";
 * import { sqlite } from "quorum-lock/sqlite";
 *
 * const locker = createLocker({ backends: [sqlite(new Database("locks.db"))] });
 * await locker.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function sqlite(client: SqliteLike, options: SqliteBackendOptions = {}): Backend {
  const file = fileOf(client);
  refuseUnknownOptions(options, OPTIONS, "the options of sqlite()");
  const table = quoted(options);
  const { name = basename(file.path), synchronous = "normal" } = options;
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("sqlite(…, { name })", "a non-empty string", name);
  }
  if (synchronous !== "normal" && synchronous !== "full") {
    throw new InvalidOptionError("sqlite(…, { synchronous })", '"normal" or "full"', synchronous);
  }
  const host = thisHost();
  const capabilities: Capabilities = {
    earlyByMs: 0,
    lateByMs: 1,
    expiryClock: host.expiryClock,
    durable: true,
    lists: true,
    coalesces: "transaction",
    atomicStep: "one transaction on the file",
    acquireRoundTrips: 0,
  };
  return {
    kind: "sqlite",
    name,
    capabilities,
    client,
    open(deployment: Deployment): BackendSession {
      const store = sqliteStore({ name, deployment, file, host, synchronous, table });
      return openMarkedSession(store, {
        name,
        deployment,
        markPlace: `the row with the empty key in the table ${table}`,
      });
    },
  };
}

/**
 * The statement that makes the table of {@link sqlite}; may be run again. The backend runs it by itself.
 *
 * @throws InvalidOptionError
 */
export function sqliteSchema(options: Pick<SqliteBackendOptions, "table"> = {}): string {
  return createTable(quoted(options));
}

function quoted({ table = TABLE }: Pick<SqliteBackendOptions, "table">): string {
  const parts = tableParts("sqlite(…, { table })", table);
  if (parts.length > 1) {
    throw new InvalidOptionError("sqlite(…, { table })", "a name without a dot", table);
  }
  return `"${parts.join("")}"`;
}
