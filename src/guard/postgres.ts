/** The check of a fencing token in PostgreSQL, inside the transaction that makes the protected write. */
import { MarkBrokenError, MarksMissingError, NoTransactionError, StaleTokenError } from "../errors.js";
import {
  checkLease,
  hexOf,
  identifierParts,
  MARKS_TABLE,
  type GuardedLease,
  type MarkStore,
} from "./lease.js";

export type { GuardedLease, MarkStore } from "./lease.js";

/** A `Client` or `PoolClient` of pg. Structural, so that no client is imported. */
export interface PostgresLike {
  /** Must send a text without values by the simple query protocol, as pg does. */
  query(text: string): Promise<unknown>;
}

/** Options of {@link guardPostgres}. */
export interface PostgresGuardOptions {
  /** The table of the marks, with its schema if need be: `"locks.marks"`. Case matters. Default "quorum_lock_marks". */
  readonly table?: string;
}

/**
 * Lets the transaction go on when no newer holder has written, and ends it otherwise. Call it in the transaction of the
 * write, before the write and before reading what the write depends on. Mark and write commit or roll back together, at
 * every isolation level; until then other guarded transactions of the key wait.
 *
 * Equal tokens pass: one holder writes many times. On refusal PostgreSQL itself has aborted the transaction: every
 * further statement fails with 25P02 and COMMIT rolls back (but not after ROLLBACK TO a savepoint that you set before).
 * Under REPEATABLE READ and SERIALIZABLE two transactions of one key at the same time may end with 40001, as any two
 * writes of one row: run the whole transaction again.
 *
 * The mark lives as long as its row: nothing removes it, one row for every key ever guarded. A restored backup brings
 * back older marks together with older data.
 * It costs one statement in one round trip, and one row version; figures are in docs/fencing.md.
 * It does not protect a write outside the transaction, nor one by code that does not call the guard.
 *
 * @example
 * ```ts
 * import type { ClientBase } from "pg";
 * import { guardPostgres, type GuardedLease } from "quorum-lock/guard/postgres";
 *
 * export async function setBalance(client: ClientBase, lease: GuardedLease, value: number): Promise<void> {
 *   await client.query("BEGIN");
 *   try {
 *     await guardPostgres(client, lease);
 *     await client.query("UPDATE accounts SET balance = $1 WHERE key = $2", [value, lease.key]);
 *     await client.query("COMMIT");
 *   } catch (error) {
 *     await client.query("ROLLBACK");
 *     throw error;
 *   }
 * }
 * ```
 *
 * @throws StaleTokenError, NoTransactionError (nothing was changed), MarksMissingError, InvalidKeyError,
 * InvalidOptionError, and whatever the database itself refuses with, unchanged.
 */
export async function guardPostgres(
  tx: PostgresLike,
  lease: GuardedLease,
  options: PostgresGuardOptions = {},
): Promise<void> {
  await advance({
    tx,
    lease,
    options,
    token: `CASE WHEN ${OUTSIDE} THEN ${raise(NO_TRANSACTION)} ELSE ${lease.token} END`,
  });
}

/**
 * The statement that makes the table of {@link guardPostgres}; may be run again. Whoever writes guarded needs SELECT,
 * INSERT and UPDATE on it.
 */
export function postgresMarksSchema(options: PostgresGuardOptions = {}): string {
  // Keys are bytes: a text can hold no NUL, and its equality depends on encoding and collation. Half-filled pages keep
  // the new row version on the page of the old one, without touching the index.
  return `CREATE TABLE IF NOT EXISTS ${tableOf(options)} (key bytea PRIMARY KEY, token bigint NOT NULL) WITH (fillfactor = 50)`;
}

/**
 * Marks for `createHttpGuard` in the table of {@link guardPostgres}, which also guards the writes. One statement of its
 * own for each advance; give it the pool.
 */
export function postgresMarks(pool: PostgresLike, options: PostgresGuardOptions = {}): MarkStore {
  tableOf(options);
  return { advance: (lease) => advance({ tx: pool, lease, options, token: `${lease.token}` }) };
}

interface Advance {
  readonly tx: PostgresLike;
  readonly lease: GuardedLease;
  readonly options: PostgresGuardOptions;
  /** What is to be the mark, as SQL. */
  readonly token: string;
}

/**
 * The row is locked before SET is computed, and SET sees its newest committed version whatever the snapshot, so there
 * is no gap between check and mark. An equal token writes the row too: otherwise a transaction with an older snapshot
 * would not learn that it missed a write. Refusals are errors of the server, so that nobody can overlook them.
 */
async function advance({ tx, lease, options, token }: Advance): Promise<void> {
  checkLease(lease);
  const table = tableOf(options);
  const statement =
    `INSERT INTO ${table} AS marks (key, token) VALUES (decode('${hexOf(lease.key)}', 'hex'), ${token}) ` +
    `ON CONFLICT (key) DO UPDATE SET token = CASE WHEN marks.token <= EXCLUDED.token THEN EXCLUDED.token ` +
    `ELSE ${raise(STALE, "marks.token")} END`;
  try {
    await tx.query(statement);
  } catch (error) {
    throw meaning(error, { lease, table, options });
  }
}

/**
 * Both clocks are read when a command arrives, by a transaction and by each of its statements: they are equal only in a
 * transaction that began with this statement. In the extended protocol they differ always.
 */
const OUTSIDE = "statement_timestamp() = transaction_timestamp()";
const STALE = "quorum-lock: stale token, highest is";
const NO_TRANSACTION = "quorum-lock: no transaction at";

/** An expression that fails with a text as soon as it is computed; not constant, or the planner would compute it. */
function raise(text: string, column = "statement_timestamp()"): string {
  return `('${text} ' || ${column})::bigint`;
}

/** What the server calls a text that is no number; it quotes the text, in every language. */
const INVALID_TEXT_REPRESENTATION = "22P02";
const UNDEFINED_TABLE = "42P01";
const UNDEFINED_SCHEMA = "3F000";

function meaning(
  error: unknown,
  about: { readonly lease: GuardedLease; readonly table: string; readonly options: PostgresGuardOptions },
): unknown {
  if (!(error instanceof Error)) return error;
  const code = Reflect.get(error, "code") as unknown;
  if (code === UNDEFINED_TABLE || code === UNDEFINED_SCHEMA) {
    return new MarksMissingError(about.table, postgresMarksSchema(about.options), error);
  }
  if (code !== INVALID_TEXT_REPRESENTATION) return error;
  if (error.message.includes(NO_TRANSACTION)) return new NoTransactionError("guardPostgres");
  const highest = new RegExp(`${STALE} (\\d+)`).exec(error.message)?.[1];
  if (highest === undefined) return new MarkBrokenError(about.lease.key, about.table, error);
  return new StaleTokenError(about.lease.key, {
    token: about.lease.token,
    highest: BigInt(highest),
    todo: "roll the transaction back, the database has aborted it",
  });
}

function tableOf({ table = MARKS_TABLE }: PostgresGuardOptions): string {
  return identifierParts("guardPostgres(…, { table })", table)
    .map((part) => `"${part}"`)
    .join(".");
}
