/**
 * The statements for many keys at once, one for each kind of operation: arrays of what the statements for one key take, and a row for
 * each answer. Each is one atomic step, and does to every key what its statement for one key does; where that is not plain
 * (somebody stands in line, another one was faster), it leaves the key alone and gives no answer.
 *
 * Rows are locked in the order of their keys, by whichever process, so that two of these never wait for each other. What the
 * planner has to leave alone for that stands with the settings of a connection.
 *
 * The first row is the mark's, without a key: m another one, q quarantined, or nothing. The others begin with the place of the key in the arrays, from 1; or
 * with k and the key in hexadecimal digits, where a lock was granted.
 */
import type { Statement } from "./connection.js";
import { after, CALLS, FENCE_MAX, KEEP, named, NOW_MS } from "./statements.js";

/** All of them, on one table. */
export interface RowStatements {
  readonly acquire: Statement;
  readonly raise: Statement;
  readonly extend: Statement;
  readonly release: Statement;
}

/**
 * For so long all wait for one row that somebody else has locked: longer than a commit takes, and not so long that the others suffer. Then
 * all of it is undone.
 */
const LOCK_MS_MAX = 50;

/** The statements on a table, whose name is quoted already. */
export function rowStatementsOn(table: string): RowStatements {
  const mark = `mark AS MATERIALIZED (
  SELECT $3::float8 - ${NOW_MS} AS left_ms FROM ${table} WHERE key = '\\x' AND owner = $2)`;
  const ofMark = `SELECT NULL::text, CASE WHEN NOT EXISTS (SELECT FROM mark) THEN 'm'
  WHEN (SELECT left_ms FROM mark) > 0 THEN 'q' || (SELECT left_ms FROM mark) ELSE '' END`;
  const bounded = `(SELECT set_config('lock_timeout', '${LOCK_MS_MAX}', true)) AS bounded`;
  /** In the order of their keys. */
  const asked = (columns: readonly (readonly [name: string, array: string])[]): string =>
    `(SELECT * FROM unnest($1::bytea[], ${columns.map(([, array]) => array).join(", ")})
    WITH ORDINALITY AS one (asked_key, ${columns.map(([name]) => name).join(", ")}, place) ORDER BY asked_key) AS asked`;

  return {
    // keys mark quarantinedUntil owners ttlsMs proposals skewMicros retentionMs. A refusal must not lock or write the row.
    acquire: named(
      "acquire-many",
      `WITH ${mark}, seen AS MATERIALIZED (
  SELECT asked.*, l.owner, l.fence, l.counter, l.expires_at > clock_timestamp() AS live,
    extract(epoch FROM l.expires_at - clock_timestamp()) * 1000 AS left_ms
  FROM ${asked([
    ["asker", "$4::text[]"],
    ["ttl_ms", "$5::float8[]"],
    ["proposal", "$6::bigint[]"],
  ])} LEFT JOIN ${table} AS l ON l.key = asked_key
), firsts AS MATERIALIZED (
  SELECT DISTINCT ON (asked_key) asked_key, asker, ttl_ms, proposal,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros
  FROM seen WHERE live IS NOT TRUE ORDER BY asked_key, place
), granted AS (
  INSERT INTO ${table} AS l (key, owner, fence, counter, expires_at, forget_at)
  SELECT asked_key, asker, clamped, clamped, ${after("ttl_ms")}, ${after("$8")}
  FROM (SELECT *, least(greatest(proposal, micros - $7::bigint), micros + $7::bigint) AS clamped FROM firsts) AS firsts, mark, ${bounded}
  WHERE left_ms <= 0 ORDER BY asked_key
  ON CONFLICT (key) DO UPDATE SET owner = EXCLUDED.owner, fence = greatest(l.counter + 1, EXCLUDED.fence),
    counter = greatest(l.counter + 1, EXCLUDED.fence), expires_at = EXCLUDED.expires_at, forget_at = EXCLUDED.forget_at
  WHERE l.expires_at <= clock_timestamp() AND l.line IS NULL AND l.counter < ${FENCE_MAX}
  RETURNING key, fence)
${ofMark}
UNION ALL SELECT 'k' || encode(key, 'hex'), 'g' || fence FROM granted
UNION ALL SELECT place::text, CASE WHEN NOT live THEN 'x' || counter WHEN fence IS NULL THEN 'k' || left_ms
  WHEN owner = asker THEN 'g' || fence ELSE 'h' || left_ms END FROM seen
  WHERE (live OR counter >= ${FENCE_MAX}) AND EXISTS (SELECT FROM mark WHERE left_ms <= 0)`,
    ),

    // keys mark quarantinedUntil owners fences tokens retentionMs
    raise: named(
      "raise-many",
      `WITH ${mark}, raised AS (
  UPDATE ${table} AS l SET counter = greatest(l.counter, token), forget_at = ${after("$7")}
  FROM ${asked([
    ["asker", "$4::text[]"],
    ["granted", "$5::bigint[]"],
    ["token", "$6::bigint[]"],
  ])}, ${bounded}
  WHERE l.key = asked_key AND l.owner = asker AND l.fence = granted AND l.expires_at > clock_timestamp()
    AND EXISTS (SELECT FROM mark) RETURNING place)
${ofMark} UNION ALL SELECT place::text, 'r' FROM raised`,
    ),

    // keys mark quarantinedUntil owners ttlsMs tokens retentionMs
    extend: named(
      "extend-many",
      `WITH ${mark}, kept AS (
  UPDATE ${table} AS l SET expires_at = greatest(l.expires_at, ${after("ttl_ms")}), counter = greatest(l.counter, token),
    forget_at = ${after("$7")}
  FROM ${asked([
    ["asker", "$4::text[]"],
    ["ttl_ms", "$5::float8[]"],
    ["token", "$6::bigint[]"],
  ])}, ${bounded}
  WHERE l.key = asked_key AND l.owner = asker AND l.fence IS NOT NULL AND l.expires_at > clock_timestamp()
    AND EXISTS (SELECT FROM mark) RETURNING place)
${ofMark} UNION ALL SELECT place::text, 'e' FROM kept`,
    ),

    // keys owners retentionMs
    release: named(
      "release-many",
      `WITH freed AS (UPDATE ${table} AS l SET forget_at = ${after("$3")}, ${KEEP}
  FROM ${asked([["asker", "$2::text[]"]])}, ${bounded}
  WHERE l.key = asked_key AND l.owner = asker AND l.fence IS NOT NULL AND l.expires_at > clock_timestamp()
  RETURNING place, ${CALLS})
SELECT NULL::text, '' UNION ALL SELECT place::text, 'r' FROM freed`,
    ),
  };
}
