/**
 * The statements, one per operation, each one atomic step. A key is a row: the counter, and the lock while `expires_at` lies
 * ahead. The mark is the row of the empty key, which no lock can have, so that whatever empties the table takes it
 * along. The locker's answer is one text, its first character the kind: g granted, h held, q quarantined, m another mark
 * than the client knows, r raised, e extended, c created anew, n not owner or refused, x a counter that is broken, a
 * another one was faster: again, k kept for another in line.
 *
 * A row with an owner and without a fence is a reservation: the owner is the ticket for which the key is kept, and it is no
 * lock to anybody. The line is in the row as well, since what an update computes from its own row is computed anew
 * when it had to wait for it: a ticket that comes while the lock is freed is either called or not taken. A ticket is a
 * text of fixed places: since, until when it waits, address.
 *
 * `clock_timestamp()` is the time at which it is computed, after waiting for a row; `now()` would be older. A lock ends by
 * a microsecond later rather than earlier.
 */
import { createHash } from "node:crypto";
import { LINE_MAX, RESERVATION_MS, SHORT_MS } from "../shared/reservation.js";
import type { Statement } from "./connection.js";

/** All statements on one table. */
export interface Statements {
  readonly acquire: Statement;
  /** An acquire with a ticket, which stands in line when the answer is held. */
  readonly wait: Statement;
  readonly raise: Statement;
  readonly extend: Statement;
  readonly heal: Statement;
  /** Frees a lock, keeps the key for the first in line and calls the first two. */
  readonly release: Statement;
  /** As release, with a ticket that is back in line before that is decided. */
  readonly giveBack: Statement;
  /** Without the line, for a table that has none and a server that takes no more calls. */
  readonly releaseOnly: Statement;
  readonly forceRelease: Statement;
  readonly forceReleaseOnly: Statement;
  readonly leave: Statement;
  readonly inspect: Statement;
  readonly list: Statement;
  readonly lift: Statement;
  readonly look: Statement;
  readonly firstMark: Statement;
  readonly swapMark: Statement;
  readonly sweep: Statement;
  readonly examine: Statement;
}

/** What makes the table; keys are bytes, since a text holds no NUL and its equality depends on collations. */
export function createTable(table: string): string {
  // Half-filled pages keep the new version of a row on the page of the old one, without touching the index.
  return (
    `CREATE TABLE IF NOT EXISTS ${table} (key bytea PRIMARY KEY, owner text, fence bigint, counter bigint NOT NULL, ` +
    `expires_at timestamptz NOT NULL, forget_at timestamptz NOT NULL, line text[]) WITH (fillfactor = 50)`
  );
}

/** What a table of a release that called nobody lacks. */
export function addLine(table: string): string {
  return `ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS line text[]`;
}

export const FENCE_MAX = "9007199254740990";
export const NOW_MS = "extract(epoch FROM clock_timestamp()) * 1000";
export const after = (ms: string): string =>
  `clock_timestamp() + ${ms}::float8 * interval '1 millisecond' + interval '1 microsecond'`;

const digits = (ms: string): string => `lpad((${ms})::bigint::text, 16, '0')`;
/** Where the parts of a ticket stand. */
const UNTIL = `substr(e, 22, 16) COLLATE "C"`;
const ADDRESS = "substr(e, 39)";
/** Those in line whose wait is not over; rows of `e`. */
const waiting = (line: string): string =>
  `SELECT e FROM unnest(${line}) AS e WHERE ${UNTIL} > ${digits(NOW_MS)}`;
/** By when each wait began and then by the names of the waiters, which stand behind the channel. */
const inOrder = (rows: string): string =>
  `(SELECT array_agg(e ORDER BY substr(e, 1, 20) COLLATE "C", substr(e, 59) COLLATE "C") FROM (${rows}) AS those)`;
/** A call to an address: `channel|id`. What looks otherwise was written by somebody else, and must not fail a release. */
const call = (address: string, inMs: string): string =>
  `CASE WHEN ${address} ~ '^ql_[0-9a-f]{16}[|]' THEN pg_notify(substr(${address}, 1, 19), substr(${address}, 21) || ' ' || ${inMs}) END`;
/** Whether the wait of the first in line is not over. */
const FIRST_WAITS = `substr(l.line[1], 22, 16) COLLATE "C" > ${digits(NOW_MS)}`;
/**
 * The key of the row `l` is kept for its first in line, or free; no more than a few steps, since every release takes them. Where
 * the wait of the first is over, nobody has the next turn.
 */
export const KEEP: string = `fence = NULL,
  owner = CASE WHEN ${FIRST_WAITS} THEN substr(l.line[1], 39) END,
  expires_at = CASE WHEN ${FIRST_WAITS} THEN ${after(`'${RESERVATION_MS}'`)} ELSE 'epoch' END,
  line = nullif(l.line[2:], '{}')`;
/** Calls the first two of a key that was freed, by its new owner and line. */
export const CALLS: string = `'r', ${call("owner", "0")}, ${call(
  "substr(line[1], 39)",
  `CASE WHEN owner IS NULL THEN 0 ELSE ${RESERVATION_MS} END`,
)}`;

/** The statements on a table, whose name is quoted already. */
export function statementsOn(table: string): Statements {
  /** $2 is the mark that the client knows, $3 the end of the quarantine that it states. */
  const mark = `mark AS MATERIALIZED (
  SELECT $3::float8 - ${NOW_MS} AS left_ms FROM ${table} WHERE key = '\\x' AND owner = $2)`;
  const unlessMark = `WHEN NOT EXISTS (SELECT FROM mark) THEN 'm'`;
  const ifQuarantined = `WHEN (SELECT left_ms FROM mark) > 0 THEN 'q' || (SELECT left_ms FROM mark)`;

  const update = (owner: string, ttl: string, retention: string): string => `
  UPDATE ${table} SET expires_at = greatest(expires_at, ${after(ttl)}), counter = greatest(counter, $6::bigint),
    forget_at = ${after(retention)}
  WHERE key = $1 AND owner = ${owner} AND fence IS NOT NULL AND expires_at > clock_timestamp()
    AND EXISTS (SELECT FROM mark) RETURNING key`;

  /**
   * Grants a key of which neither the look says `unless`, nor its row anything but `isFree` when it is written; `also`: what
   * else is set. Parameters as those of acquire.
   */
  const grant = (when: {
    readonly unless: string;
    readonly isFree: string;
    readonly also?: string;
  }): string => `proposed AS MATERIALIZED (
  SELECT least(greatest($6::bigint, micros - $7::bigint), micros + $7::bigint) AS fence
  FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros) AS clock
), granted AS (
  INSERT INTO ${table} AS l (key, owner, fence, counter, expires_at, forget_at)
  SELECT $1, $4, fence, fence, ${after("$5")}, ${after("$8")} FROM proposed, mark
  WHERE left_ms <= 0 AND NOT EXISTS (SELECT FROM seen WHERE ${when.unless})
  ON CONFLICT (key) DO UPDATE SET owner = EXCLUDED.owner, fence = greatest(l.counter + 1, EXCLUDED.fence),
    counter = greatest(l.counter + 1, EXCLUDED.fence), expires_at = ${after("$5")}, forget_at = ${after("$8")}${when.also ?? ""}
  WHERE ${when.isFree} AND l.counter < ${FENCE_MAX}
  RETURNING fence`;
  /** Those in the line of the row `l` without the ticket of an address, and with it. */
  const others = (address: string): string => `${waiting("l.line")} AND ${ADDRESS} <> ${address}`;
  const withTicket = (address: string, since: string, waitsMs: string): string =>
    inOrder(`${others(address)} UNION ALL
      SELECT lpad(${since}::text, 20, '0') || ' ' || ${digits(`${NOW_MS} + ${waitsMs}::float8`)} || ' ' || ${address}`);
  const withoutOwn = inOrder(others("$9"));

  return {
    // key mark quarantinedUntil owner ttlMs proposal skewMicros retentionMs. A refusal must not lock or write the row.
    acquire: named(
      "acquire",
      `WITH ${mark}, seen AS MATERIALIZED (
  SELECT owner, fence, counter, expires_at > clock_timestamp() AS live,
    extract(epoch FROM expires_at - clock_timestamp()) * 1000 AS left_ms FROM ${table} WHERE key = $1
), ${grant({ unless: "live", isFree: "l.expires_at <= clock_timestamp()" })})
SELECT CASE ${unlessMark} ${ifQuarantined}
  WHEN EXISTS (SELECT FROM granted) THEN 'g' || (SELECT fence FROM granted)
  WHEN (SELECT live AND owner = $4 AND fence IS NOT NULL FROM seen) THEN 'g' || (SELECT fence FROM seen)
  WHEN (SELECT live FROM seen) THEN (SELECT CASE WHEN fence IS NULL THEN 'k' ELSE 'h' END || left_ms FROM seen)
  WHEN (SELECT counter FROM seen) >= ${FENCE_MAX} THEN 'x' || (SELECT counter FROM seen)
  ELSE 'a' END`,
    ),

    // As acquire, and address since waitsMs. Who has the lock stands in line no more.
    wait: named(
      "wait",
      `WITH ${mark}, seen AS MATERIALIZED (
  SELECT owner, fence, counter, expires_at > clock_timestamp() AND NOT (fence IS NULL AND owner = $9) AS taken,
    extract(epoch FROM expires_at - clock_timestamp()) * 1000 AS left_ms,
    EXISTS (SELECT FROM unnest(line) AS e WHERE ${ADDRESS} = $9 AND ${UNTIL} >= ${digits(`${NOW_MS} + $11::float8 - ${SHORT_MS}`)}) AS stands,
    (SELECT count(*) FROM (${waiting("line")} AND ${ADDRESS} <> $9) AS others) >= ${LINE_MAX} AS is_full
  FROM ${table} WHERE key = $1
), ${grant({
        unless: "taken",
        isFree: "(l.expires_at <= clock_timestamp() OR (l.fence IS NULL AND l.owner = $9))",
        also: `,
    line = ${withoutOwn}`,
      })}
), joined AS (
  UPDATE ${table} AS l SET line = ${withTicket("$9", "$10", "$11")}
  WHERE l.key = $1 AND l.expires_at > clock_timestamp() AND NOT (l.fence IS NULL AND l.owner = $9)
    AND EXISTS (SELECT FROM mark WHERE left_ms <= 0)
    AND EXISTS (SELECT FROM seen WHERE taken AND owner <> $4 AND NOT stands AND NOT is_full)
  RETURNING key
), gone AS (
  UPDATE ${table} AS l SET line = ${withoutOwn}
  WHERE l.key = $1 AND l.owner = $4 AND l.fence IS NOT NULL AND EXISTS (SELECT FROM seen WHERE taken AND owner = $4)
    AND EXISTS (SELECT FROM unnest(l.line) AS e WHERE ${ADDRESS} = $9) AND EXISTS (SELECT FROM mark))
SELECT CASE ${unlessMark} ${ifQuarantined}
  WHEN EXISTS (SELECT FROM granted) THEN 'g' || (SELECT fence FROM granted)
  WHEN (SELECT taken AND owner = $4 AND fence IS NOT NULL FROM seen) THEN 'g' || (SELECT fence FROM seen)
  WHEN (SELECT taken AND (stands OR is_full OR EXISTS (SELECT FROM joined)) FROM seen)
    THEN (SELECT CASE WHEN fence IS NULL THEN 'k' ELSE 'h' END || left_ms FROM seen)
  WHEN (SELECT NOT taken AND counter >= ${FENCE_MAX} FROM seen) THEN 'x' || (SELECT counter FROM seen)
  ELSE 'a' END`,
    ),

    // key mark quarantinedUntil owner fence token retentionMs
    raise: named(
      "raise",
      `WITH ${mark}, raised AS (
  UPDATE ${table} SET counter = greatest(counter, $6::bigint), forget_at = ${after("$7")}
  WHERE key = $1 AND owner = $4 AND fence = $5::bigint AND expires_at > clock_timestamp() AND EXISTS (SELECT FROM mark)
  RETURNING key)
SELECT CASE ${unlessMark} WHEN EXISTS (SELECT FROM raised) THEN 'r' ELSE 'n' END`,
    ),

    // key mark quarantinedUntil owner ttlMs token retentionMs
    extend: named(
      "extend",
      `WITH ${mark}, kept AS (${update("$4", "$5", "$7")})
SELECT CASE ${unlessMark} WHEN EXISTS (SELECT FROM kept) THEN 'e' ${ifQuarantined} ELSE 'n' END`,
    ),

    // As extend, and creates the lock anew where the key is free.
    heal: named(
      "heal",
      `WITH ${mark}, kept AS (${update("$4", "$5", "$7")}
), healed AS (
  INSERT INTO ${table} AS l (key, owner, fence, counter, expires_at, forget_at)
  SELECT $1, $4, $6::bigint, $6::bigint, ${after("$5")}, ${after("$7")} FROM mark
  WHERE left_ms <= 0 AND NOT EXISTS (SELECT FROM kept)
  ON CONFLICT (key) DO UPDATE SET owner = EXCLUDED.owner, fence = greatest(l.counter, EXCLUDED.fence),
    counter = greatest(l.counter, EXCLUDED.fence), expires_at = ${after("$5")}, forget_at = ${after("$7")}
  WHERE l.expires_at <= clock_timestamp()
  RETURNING key)
SELECT CASE ${unlessMark} WHEN EXISTS (SELECT FROM kept) THEN 'e' ${ifQuarantined}
  WHEN EXISTS (SELECT FROM healed) THEN 'c' ELSE 'n' END`,
    ),

    // key owner retentionMs. Compares no mark: an owner is used once.
    release: named(
      "release",
      `UPDATE ${table} AS l SET forget_at = ${after("$3")}, ${KEEP}
WHERE key = $1 AND owner = $2 AND fence IS NOT NULL AND expires_at > clock_timestamp() RETURNING ${CALLS}`,
    ),
    // key owner retentionMs address since waitsMs
    giveBack: named(
      "give-back",
      `UPDATE ${table} AS l SET forget_at = ${after("$3")}, fence = NULL, (owner, expires_at, line) = (
  SELECT substr(next.line[1], 39), ${after(`'${RESERVATION_MS}'`)}, nullif(next.line[2:], '{}')
  FROM (SELECT ${withTicket("$4", "$5", "$6")} AS line) AS next)
WHERE key = $1 AND owner = $2 AND fence IS NOT NULL AND expires_at > clock_timestamp() RETURNING ${CALLS}`,
    ),
    releaseOnly: named(
      "release-only",
      `UPDATE ${table} SET owner = NULL, fence = NULL, expires_at = 'epoch', forget_at = ${after("$3")}
WHERE key = $1 AND owner = $2 AND fence IS NOT NULL AND expires_at > clock_timestamp() RETURNING 'r'`,
    ),

    // key retentionMs
    forceRelease: named(
      "force-release",
      `UPDATE ${table} AS l SET forget_at = ${after("$2")}, ${KEEP}
WHERE key = $1 AND fence IS NOT NULL AND expires_at > clock_timestamp() RETURNING ${CALLS}`,
    ),
    forceReleaseOnly: named(
      "force-release-only",
      `UPDATE ${table} SET owner = NULL, fence = NULL, expires_at = 'epoch', forget_at = ${after("$2")}
WHERE key = $1 AND fence IS NOT NULL AND expires_at > clock_timestamp() RETURNING 'r'`,
    ),

    // key address. A reservation that is given up goes to the next in line.
    leave: named(
      "leave",
      `WITH freed AS (UPDATE ${table} AS l SET ${KEEP}
WHERE key = $1 AND fence IS NULL AND owner = $2 AND expires_at > clock_timestamp() RETURNING ${CALLS}
), gone AS (UPDATE ${table} AS l SET line = ${inOrder(`${waiting("l.line")} AND ${ADDRESS} <> $2`)}
WHERE key = $1 AND NOT (fence IS NULL AND owner IS NOT DISTINCT FROM $2 AND expires_at > clock_timestamp())
  AND EXISTS (SELECT FROM unnest(l.line) AS e WHERE ${ADDRESS} = $2) RETURNING key)
SELECT FROM freed`,
    ),

    // key
    inspect: named(
      "inspect",
      `SELECT counter::text, owner, fence::text, (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::text
FROM (SELECT * FROM ${table} WHERE key = $1) AS seen`,
    ),

    // first key looked at, key before it or null, limit. The mark is no key.
    list: named(
      "list",
      `SELECT encode(key, 'hex'), (fence IS NOT NULL AND expires_at > clock_timestamp())::int::text FROM ${table}
WHERE key >= $1 AND key > $2 ORDER BY key LIMIT $3::int`,
    ),

    // key token retentionMs
    lift: named(
      "lift",
      `INSERT INTO ${table} AS l (key, counter, expires_at, forget_at) VALUES ($1, $2::bigint, 'epoch', ${after("$3")})
ON CONFLICT (key) DO UPDATE SET counter = greatest(l.counter, EXCLUDED.counter), forget_at = EXCLUDED.forget_at
RETURNING counter::text`,
    ),

    look: named("look", `SELECT (SELECT owner FROM ${table} WHERE key = '\\x'), (${NOW_MS})::text`),

    // mark
    firstMark: named(
      "first-mark",
      `INSERT INTO ${table} (key, owner, counter, expires_at, forget_at) VALUES ('\\x', $1, 0, 'epoch', 'infinity')
ON CONFLICT (key) DO NOTHING RETURNING 'w'`,
    ),

    // mark, mark before
    swapMark: named(
      "swap-mark",
      `UPDATE ${table} SET owner = $1 WHERE key = '\\x' AND owner = $2 RETURNING 'w'`,
    ),

    // key after which to look, limit. Waits for no row, and answers the last key that it looked at.
    sweep: named(
      "sweep",
      `WITH page AS MATERIALIZED (SELECT key FROM ${table} WHERE key > $1 ORDER BY key LIMIT $2::int
), old AS MATERIALIZED (SELECT key FROM ${table} WHERE key IN (SELECT key FROM page) AND forget_at <= clock_timestamp()
    AND expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM ${table} WHERE key IN (SELECT key FROM old) RETURNING key)
SELECT (SELECT encode(key, 'hex') FROM page ORDER BY key DESC LIMIT 1), (SELECT count(*) FROM page)::text,
  (SELECT count(*) FROM gone)::text`,
    ),

    // the table as text
    examine: named(
      "examine",
      `SELECT current_setting('server_version'), (${NOW_MS})::text, pg_is_in_recovery()::int::text,
  current_setting('transaction_read_only'), current_setting('fsync'), current_setting('full_page_writes'),
  (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'),
  (SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass($1)),
  (CASE WHEN to_regclass($1) IS NULL THEN NULL ELSE has_table_privilege(to_regclass($1), 'SELECT')
    AND has_table_privilege(to_regclass($1), 'INSERT') AND has_table_privilege(to_regclass($1), 'UPDATE')
    AND has_table_privilege(to_regclass($1), 'DELETE') END)::int::text,
  (to_regclass($1) IS NULL OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'line'))::int::text`,
    ),
  };
}

/** A name is used for one text on a connection, which several tables may share. */
export function named(operation: string, text: string): Statement {
  const digest = createHash("sha1").update(text).digest("hex").slice(0, 12);
  return { name: `quorum-lock ${operation} ${digest}`, text };
}
