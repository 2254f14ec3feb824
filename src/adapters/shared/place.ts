/** Where the record of a key lies in a store whose names are too narrow for keys: under a hash, in one of 256 folders. */
import { createHash } from "node:crypto";

/** A place. The folder lets a store be looked through in parts. */
export interface Place {
  /** Two hexadecimal digits. */
  readonly folder: string;
  /** 62 hexadecimal digits. */
  readonly name: string;
}

/** The place of a key. Two keys never share one; the record holds the key itself. */
export function placeOf(key: string): Place {
  const digits = createHash("sha256").update(key, "utf8").digest("hex");
  return { folder: digits.slice(0, 2), name: digits.slice(2) };
}

/**
 * A name for one text of a mark. A mark never says the same twice, since its incarnation is random, so that whatever is
 * conditional on something of this name is conditional on this very mark.
 */
export function sealOf(markText: string): string {
  return createHash("sha256").update(markText, "utf8").digest("hex").slice(0, 32);
}
