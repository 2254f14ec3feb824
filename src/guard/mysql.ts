/** The check of a fencing token in MySQL and MariaDB (InnoDB), inside the transaction that makes the protected write. */
import {
  InvalidOptionError,
  MarkBrokenError,
  MarksMissingError,
  NoTransactionError,
  StaleTokenError,
} from "../errors.js";
import {
  checkLease,
  hexOf,
  identifierParts,
  MARKS_TABLE,
  type GuardedLease,
  type MarkStore,
} from "./lease.js";

export type { GuardedLease, MarkStore } from "./lease.js";

/** A connection of mysql2/promise. Structural, so that no client is imported. */
export interface MysqlLike {
  query(sql: string): Promise<readonly [unknown, ...unknown[]]>;
}

/** Options of {@link guardMysql}. */
export interface MysqlGuardOptions {
  /** The table of the marks, with its database if need be: `"locks.marks"`. Default "quorum_lock_marks". */
  readonly table?: string;
}

/**
 * Lets the transaction go on when no newer holder has written, and refuses otherwise. Call it in the transaction of the
 * write, before the write and before reading what the write depends on (a snapshot taken earlier may be older than
 * what the holder before has written). Mark and write commit or roll back together, at every isolation level; until then
 * other guarded transactions of the key wait.
 *
 * Equal tokens pass: one holder writes many times. After any error **roll the transaction back**: these servers keep it
 * open, and would commit what you write in spite of the refusal. After a deadlock (1213) they have rolled it back
 * themselves, and what you send next is outside of any transaction.
 *
 * The mark lives as long as its row: nothing removes it, one row for every key ever guarded. A restored backup brings
 * back older marks together with older data.
 * It costs one statement in one round trip (a second one on refusal); figures are in docs/fencing.md.
 * It does not protect a write outside the transaction, a write to a table without transactions (MyISAM), nor one by
 * code that does not call the guard. Outside a transaction it refuses after the fact: the mark was moved then, which harms nobody.
 *
 * @example
 * ```ts
 * import type { Connection } from "mysql2/promise";
 * import { guardMysql, type GuardedLease } from "quorum-lock/guard/mysql";
 *
 * export async function setBalance(connection: Connection, lease: GuardedLease, value: number): Promise<void> {
 *   await connection.query("START TRANSACTION");
 *   try {
 *     await guardMysql(connection, lease);
 *     await connection.execute("UPDATE accounts SET balance = ? WHERE name = ?", [value, lease.key]);
 *     await connection.query("COMMIT");
 *   } catch (error) {
 *     await connection.query("ROLLBACK");
 *     throw error;
 *   }
 * }
 * ```
 *
 * @throws StaleTokenError, NoTransactionError, MarksMissingError, InvalidKeyError, InvalidOptionError, and whatever the
 * database itself refuses with, unchanged.
 */
export async function guardMysql(
  tx: MysqlLike,
  lease: GuardedLease,
  options: MysqlGuardOptions = {},
): Promise<void> {
  const status = await advance(tx, lease, options);
  if ((status & IN_TRANSACTION) === 0) throw new NoTransactionError("guardMysql");
}

/** The statement that makes the table of {@link guardMysql}; may be run again. */
export function mysqlMarksSchema(options: MysqlGuardOptions = {}): string {
  // Keys are bytes: the equality of a text depends on its collation, where "a" may equal "A" and "ä".
  return `CREATE TABLE IF NOT EXISTS ${tableOf(options)} (k VARBINARY(512) PRIMARY KEY, token BIGINT NOT NULL) ENGINE=InnoDB`;
}

/** Marks for `createHttpGuard` in the table of {@link guardMysql}, which also guards the writes. Give it the pool. */
export function mysqlMarks(pool: MysqlLike, options: MysqlGuardOptions = {}): MarkStore {
  tableOf(options);
  return {
    async advance(lease: GuardedLease): Promise<void> {
      await advance(pool, lease, options);
    },
  };
}

/** SERVER_STATUS_IN_TRANS of the protocol: set in the answer while a transaction is open, also under autocommit=0. */
const IN_TRANSACTION = 1;

const DATA_OUT_OF_RANGE = 1690;
const NO_SUCH_TABLE = 1146;
const NO_SUCH_DATABASE = 1049;

/**
 * The row is locked before it is compared, and compared in its newest version whatever the snapshot, so there is no gap
 * between check and mark. A stale token overflows the addition: an error under every sql_mode, in both products. The
 * numbers stand in the text, since MySQL may compare a number with a bound string as doubles. Returns the server's status.
 */
async function advance(tx: MysqlLike, lease: GuardedLease, options: MysqlGuardOptions): Promise<number> {
  checkLease(lease);
  const table = tableOf(options);
  const { token } = lease;
  const key = `X'${hexOf(lease.key)}'`;
  let result: unknown;
  try {
    [result] = await tx.query(
      `INSERT INTO ${table} (k, token) VALUES (${key}, ${token}) ON DUPLICATE KEY UPDATE ` +
        `token = CASE WHEN token <= ${token} THEN ${token} ELSE token + 18446744073709551615 END`,
    );
  } catch (error) {
    const errno = error instanceof Error ? (Reflect.get(error, "errno") as unknown) : undefined;
    if (errno === NO_SUCH_TABLE || errno === NO_SUCH_DATABASE) {
      throw new MarksMissingError(table, mysqlMarksSchema(options), error);
    }
    if (errno !== DATA_OUT_OF_RANGE) throw error;
    const highest = await highestOf(tx, { table, key });
    if (highest === undefined || highest <= token) throw new MarkBrokenError(lease.key, table, error);
    const todo = "roll the transaction back, the database keeps it open";
    throw new StaleTokenError(lease.key, { token, highest, todo });
  }
  const status: unknown =
    typeof result === "object" && result !== null ? Reflect.get(result, "serverStatus") : undefined;
  if (typeof status !== "number") {
    throw new InvalidOptionError(
      "guardMysql(tx)",
      "a connection of mysql2/promise, whose results have a serverStatus",
      tx,
    );
  }
  return status;
}

/** Still the row that refused: the transaction holds its lock. Outside of one it may have become newer. */
async function highestOf(
  tx: MysqlLike,
  where: { readonly table: string; readonly key: string },
): Promise<bigint | undefined> {
  const [rows] = await tx.query(
    `SELECT CONCAT('t', token) AS token FROM ${where.table} WHERE k = ${where.key} FOR UPDATE`,
  );
  const row: unknown = Array.isArray(rows) ? rows[0] : undefined;
  // Under the connection option rowsAsArray a row is an array. The letter keeps it a text under every type cast.
  const text = /^t(\d+)$/.exec(String(Array.isArray(row) ? row[0] : Object(row)["token"]))?.[1];
  return text === undefined ? undefined : BigInt(text);
}

function tableOf({ table = MARKS_TABLE }: MysqlGuardOptions): string {
  return identifierParts("guardMysql(…, { table })", table)
    .map((part) => `\`${part}\``)
    .join(".");
}
