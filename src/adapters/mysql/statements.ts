/**
 * The statements, one atomic step each. A key is a row: the counter, and the lock while `expires_at` lies ahead. The mark is
 * the row of the empty key, which no lock can have, so that whatever empties the table takes it along.
 *
 * `UTC_TIMESTAMP(6)` is when the statement began, before it waited for a row: an end counted from it is no earlier than
 * the client reckons, who counts from before. Assignments are made from left to right, each seeing those before it. Every
 * change counts `changes` up, so that it is a change to the server, too, and counted as an affected row.
 */
import type { Asked, Dialect } from "./connection.js";

type Value = number | Buffer | string;

/** What a lock needs of the deployment. */
export interface StatementFigures {
  readonly skewMicros: number;
  readonly retentionMicros: number;
}

/** The mark that the client knows, and the end of the quarantine that it states. */
export interface MarkValues {
  readonly text: string;
  readonly quarantinedUntil: number;
}

/** All statements on one table. */
export interface Statements {
  /** MariaDB: one row with the answer, or none where the mark or a quarantine is in the way. MySQL: a result. */
  acquire(dialect: Dialect, mark: MarkValues, request: AcquireValues): Asked;
  raise(mark: MarkValues, request: RaiseValues): Asked;
  extend(mark: MarkValues, request: ExtendValues): Asked;
  heal(mark: MarkValues, request: ExtendValues): Asked;
  /** Why a step changed nothing: mark there or not, ms of quarantine, owner, fence, counter, ms of the lock. */
  why(mark: MarkValues, key: string): Asked;
  release(key: string, owner: string): Asked;
  forceRelease(key: string): Asked;
  inspect(key: string): Asked;
  list(from: Buffer, after: Buffer, limit: number): Asked;
  lift(key: string, token: bigint): Asked;
  counter(key: string): Asked;
  look(): Asked;
  firstMark(text: string): Asked;
  swapMark(from: string, to: string): Asked;
  old(after: Buffer, limit: number): Asked;
  forget(keys: readonly Buffer[]): Asked;
  examine(table: readonly string[]): Asked;
}

interface AcquireValues {
  readonly key: string;
  readonly owner: string;
  readonly ttlMs: number;
  readonly proposal: bigint;
}
interface RaiseValues {
  readonly key: string;
  readonly owner: string;
  readonly fence: bigint;
  readonly token: bigint;
}
interface ExtendValues {
  readonly key: string;
  readonly owner: string;
  readonly ttlMs: number;
  readonly token: bigint;
}

/** What makes the table; keys and texts are bytes, whose equality depends on no collation. */
export function createTable(table: string): string {
  return (
    `CREATE TABLE IF NOT EXISTS ${table} (k VARBINARY(512) NOT NULL PRIMARY KEY, owner VARBINARY(255) NOT NULL DEFAULT '', ` +
    "fence BIGINT NOT NULL DEFAULT 0, counter BIGINT NOT NULL, expires_at DATETIME(6) NOT NULL, " +
    "forget_at DATETIME(6) NOT NULL, changes BIGINT NOT NULL DEFAULT 0) ENGINE = InnoDB ROW_FORMAT = DYNAMIC"
  );
}

const FENCE_MAX = "9007199254740990";
const NOW = "UTC_TIMESTAMP(6)";
const NOW_MICROS = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${NOW})`;
const NEVER = "'1970-01-01'";
const after = (micros: number): string => `${NOW} + INTERVAL ${micros} MICROSECOND`;
const bytes = (text: string): Buffer => Buffer.from(text, "utf8");

/** The statements on a table, whose name is quoted already. */
export function statementsOn(table: string, { skewMicros, retentionMicros }: StatementFigures): Statements {
  const forgetAt = after(retentionMicros);
  /** One row where the mark is still that one. A limit keeps the server from merging it into an update of the same table. */
  const markIs = `(SELECT 1 FROM ${table} WHERE k = '' AND owner = ? LIMIT 1) AS mark`;
  const inService = `${NOW_MICROS} >= ?`;
  const until = ({ quarantinedUntil }: MarkValues): number => quarantinedUntil * 1000;
  // A microsecond more, since the clock is cut off at one.
  const end = (ttlMs: number): string => after(Math.ceil(ttlMs * 1000) + 1);
  const asked = (sql: string, ...values: readonly Value[]): Asked => ({ sql, values });

  return {
    acquire(dialect, mark, { key, owner, ttlMs, proposal }) {
      const proposed = `LEAST(GREATEST(${proposal}, ${NOW_MICROS} - ${skewMicros}), ${NOW_MICROS} + ${skewMicros})`;
      const free = `expires_at <= ${NOW} AND counter < ${FENCE_MAX}`;
      const told = (fence: string): string => (dialect === "mysql" ? `LAST_INSERT_ID(${fence})` : fence);
      const returning =
        dialect === "mysql"
          ? ""
          : ` RETURNING CASE WHEN expires_at <= ${NOW} THEN 'x' WHEN owner = ? THEN CONCAT('g', fence)
  ELSE CONCAT('h', TIMESTAMPDIFF(MICROSECOND, ${NOW}, expires_at) / 1000) END`;
      // The counter comes last: it is the fence that was just granted, or was at least as high already.
      return asked(
        `INSERT INTO ${table} (k, owner, fence, counter, expires_at, forget_at)
SELECT ?, ?, ${told(proposed)}, ${proposed}, ${end(ttlMs)}, ${forgetAt} FROM ${markIs} WHERE ${inService}
ON DUPLICATE KEY UPDATE owner = IF(${free}, ?, owner), fence = IF(${free}, ${told(`GREATEST(counter + 1, ${proposed})`)}, fence),
  changes = changes + IF(${free}, 1, 0), forget_at = IF(${free}, ${forgetAt}, forget_at),
  expires_at = IF(${free}, ${end(ttlMs)}, expires_at), counter = GREATEST(counter, fence)${returning}`,
        bytes(key),
        bytes(owner),
        bytes(mark.text),
        until(mark),
        bytes(owner),
        ...(dialect === "mysql" ? [] : [bytes(owner)]),
      );
    },

    raise: (mark, { key, owner, fence, token }) =>
      asked(
        `UPDATE ${table} SET counter = GREATEST(counter, ${token}), forget_at = ${forgetAt}, changes = changes + 1
WHERE k = ? AND owner = ? AND fence = ${fence} AND expires_at > ${NOW} AND EXISTS (SELECT * FROM ${markIs})`,
        bytes(key),
        bytes(owner),
        bytes(mark.text),
      ),

    extend: (mark, { key, owner, ttlMs, token }) =>
      asked(
        `UPDATE ${table} SET counter = GREATEST(counter, ${token}), forget_at = ${forgetAt}, changes = changes + 1,
  expires_at = GREATEST(expires_at, ${end(ttlMs)})
WHERE k = ? AND owner = ? AND expires_at > ${NOW} AND EXISTS (SELECT * FROM ${markIs})`,
        bytes(key),
        bytes(owner),
        bytes(mark.text),
      ),

    heal(mark, { key, owner, ttlMs, token }) {
      const free = `expires_at <= ${NOW}`;
      return asked(
        `INSERT INTO ${table} (k, owner, fence, counter, expires_at, forget_at)
SELECT ?, ?, ${token}, ${token}, ${end(ttlMs)}, ${forgetAt} FROM ${markIs} WHERE ${inService}
ON DUPLICATE KEY UPDATE owner = IF(${free}, ?, owner), fence = IF(${free}, GREATEST(counter, ${token}), fence),
  changes = changes + IF(${free}, 1, 0), forget_at = IF(${free}, ${forgetAt}, forget_at),
  expires_at = IF(${free}, ${end(ttlMs)}, expires_at), counter = GREATEST(counter, fence)`,
        bytes(key),
        bytes(owner),
        bytes(mark.text),
        until(mark),
        bytes(owner),
      );
    },

    why: (mark, key) =>
      asked(
        `SELECT EXISTS (SELECT * FROM ${markIs}), CAST((? - ${NOW_MICROS}) / 1000 AS CHAR), CAST(owner AS CHAR), CAST(fence AS CHAR),
  CAST(counter AS CHAR), CAST(TIMESTAMPDIFF(MICROSECOND, ${NOW}, expires_at) / 1000 AS CHAR)
FROM (SELECT 1) AS one LEFT JOIN ${table} ON k = ?`,
        bytes(mark.text),
        until(mark),
        bytes(key),
      ),

    // Compares no mark: an owner is used once.
    release: (key, owner) =>
      asked(
        `UPDATE ${table} SET owner = '', expires_at = ${NEVER}, forget_at = ${forgetAt}, changes = changes + 1
WHERE k = ? AND owner = ? AND expires_at > ${NOW}`,
        bytes(key),
        bytes(owner),
      ),

    forceRelease: (key) =>
      asked(
        `UPDATE ${table} SET owner = '', expires_at = ${NEVER}, forget_at = ${forgetAt}, changes = changes + 1
WHERE k = ? AND expires_at > ${NOW}`,
        bytes(key),
      ),

    inspect: (key) =>
      asked(
        `SELECT CAST(owner AS CHAR), CAST(fence AS CHAR), CAST(counter AS CHAR),
  CAST(TIMESTAMPDIFF(MICROSECOND, ${NOW}, expires_at) / 1000 AS CHAR) FROM ${table} WHERE k = ?`,
        bytes(key),
      ),

    list: (from, later, limit) =>
      asked(
        `SELECT HEX(k), expires_at > ${NOW} FROM ${table} WHERE k >= ? AND k > ? ORDER BY k LIMIT ${limit}`,
        from,
        later,
      ),

    lift: (key, token) =>
      asked(
        `INSERT INTO ${table} (k, counter, expires_at, forget_at) VALUES (?, ${token}, ${NEVER}, ${forgetAt})
ON DUPLICATE KEY UPDATE counter = GREATEST(counter, ${token}), forget_at = ${forgetAt}, changes = changes + 1`,
        bytes(key),
      ),

    counter: (key) => asked(`SELECT CAST(counter AS CHAR) FROM ${table} WHERE k = ?`, bytes(key)),

    look: () =>
      asked(
        `SELECT (SELECT CAST(owner AS CHAR) FROM ${table} WHERE k = ''), CAST(${NOW_MICROS} / 1000 AS CHAR)`,
      ),

    firstMark: (text) =>
      asked(
        `INSERT IGNORE INTO ${table} (k, owner, counter, expires_at, forget_at) VALUES ('', ?, 0, ${NEVER}, '9999-12-31')`,
        bytes(text),
      ),

    swapMark: (from, to) =>
      asked(
        `UPDATE ${table} SET owner = ?, changes = changes + 1 WHERE k = '' AND owner = ?`,
        bytes(to),
        bytes(from),
      ),

    old: (later, limit) =>
      asked(
        `SELECT HEX(k), forget_at <= ${NOW} AND expires_at <= ${NOW} FROM ${table} WHERE k > ? ORDER BY k LIMIT ${limit}`,
        later,
      ),

    forget: (keys) =>
      asked(
        `DELETE FROM ${table} WHERE k IN (${keys.map(() => "?").join(", ")}) AND forget_at <= ${NOW} AND expires_at <= ${NOW}`,
        ...keys,
      ),

    examine: (parts) =>
      asked(
        `SELECT VERSION(), CAST(${NOW_MICROS} / 1000 AS CHAR), CAST(@@global.read_only AS CHAR),
  CAST(@@global.innodb_flush_log_at_trx_commit AS CHAR), CAST(@@global.sync_binlog AS CHAR), CAST(@@global.log_bin AS CHAR),
  (SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_NAME = ?
    AND TABLE_SCHEMA = ${parts.length > 1 ? "?" : "DATABASE()"})`,
        ...parts.toReversed(),
      ),
  };
}
