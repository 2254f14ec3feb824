/** How a transaction of etcd sees that nothing has changed. */

/**
 * By what the two keys of a lock (itself, counter), or of the mark (itself, quarantine), are known again. Text as well as
 * revisions, since a cluster whose data were wiped counts its revisions from 1 again.
 */
export interface Revisions {
  /** The text of the first; undefined for one that is not there. */
  readonly text: string | undefined;
  /** When it was written; "0" for one that is not there. */
  readonly first: string;
  readonly second: string;
  /** The lease of the lock, or of the quarantine; "0" for none. */
  readonly lease: string;
  /** When the line of a lock was written; "0" for none. */
  readonly line: string;
}

/** The revision and the lease of what is not there. */
export const ABSENT = "0";
/** Neither key is there. */
export const NEITHER: Revisions = {
  text: undefined,
  first: ABSENT,
  second: ABSENT,
  lease: ABSENT,
  line: ABSENT,
};

/** A key or value. */
export function bytes(text: string): Buffer {
  return Buffer.from(text);
}

/** A value as text. */
export function textOf(value: Uint8Array): string {
  return String(Buffer.from(value));
}

/** Written last at that revision; or not there. */
export function unchanged(key: Buffer, mod_revision: string): object {
  return { result: "Equal", target: "Mod", key, mod_revision };
}

/** Still the same text, written at the same time; or still not there. */
export function sameText(key: Buffer, { text, first }: Revisions): readonly object[] {
  const same = unchanged(key, first);
  return text === undefined ? [same] : [same, { result: "Equal", target: "Value", key, value: bytes(text) }];
}
