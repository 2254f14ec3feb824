/** What every guard is given, checked at its edge. */
import { InvalidKeyError, InvalidOptionError } from "../errors.js";

/** The part of a lease that a guard needs; a token that came over a wire will do. */
export interface GuardedLease {
  readonly key: string;
  readonly token: bigint;
}

/** The largest token that every guard keeps exactly: a signed 64-bit number, the BIGINT of SQL. */
export const MAX_TOKEN: bigint = 2n ** 63n - 1n;

/** As for locks; a column of MySQL has a length. */
export const KEY_BYTES_MAX = 512;

/** Throws `INVALID_KEY` or `INVALID_OPTION`. A number is refused: above 2^53 it may already be another one. */
export function checkLease(lease: GuardedLease): void {
  const { key, token } = lease;
  if (typeof key !== "string" || key === "") throw new InvalidKeyError("a non-empty string", key);
  if (LONE_SURROGATE.test(key)) throw new InvalidKeyError("well-formed Unicode", key);
  if (Buffer.byteLength(key) > KEY_BYTES_MAX) {
    throw new InvalidKeyError(`at most ${KEY_BYTES_MAX} bytes in UTF-8`, key);
  }
  if (typeof token !== "bigint" || token < 0n || token > MAX_TOKEN) {
    throw new InvalidOptionError("lease.token", `a bigint from 0 to ${MAX_TOKEN}`, token);
  }
}

/** The only strings that UTF-8 cannot carry: two of them would become one key. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** A key as hexadecimal digits of its UTF-8: exact in every character set, and nothing to escape. */
export function hexOf(key: string): string {
  return Buffer.from(key, "utf8").toString("hex");
}

/** A table name in parts, for quoting. Throws `INVALID_OPTION`. */
export function identifierParts(option: string, name: unknown): readonly string[] {
  const parts = typeof name === "string" ? name.split(".") : [];
  if (parts.length < 1 || parts.length > 2 || !parts.every((part) => IDENTIFIER.test(part))) {
    throw new InvalidOptionError(
      option,
      "a table name, or two with a dot, of letters, digits and _ (at most 63)",
      name,
    );
  }
  return parts;
}

const IDENTIFIER = /^[A-Za-z_]\w{0,62}$/;

/** The table that SQL guards use unless told otherwise. */
export const MARKS_TABLE = "quorum_lock_marks";

/** Where marks are kept when no write can be in the same step: in front of an HTTP handler. */
export interface MarkStore {
  /** Takes note of a lease's token; throws or rejects with `STALE_TOKEN` when a higher one was seen. */
  advance(lease: GuardedLease): void | Promise<void>;
}
