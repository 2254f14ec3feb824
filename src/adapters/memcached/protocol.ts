/** Requests of memcached's binary protocol, as far as memjs has no methods for them: those that compare. */

/** How a key is read or written. */
export const OPCODES = { get: 0x00, add: 0x02, replace: 0x03, delete: 0x04 } as const;

/** Statuses of answers. */
export const STATUS = {
  ok: 0x00,
  notFound: 0x01,
  exists: 0x02,
  notStored: 0x05,
} as const;

/** Longer relative times are taken for a date in 1970, and what has them is gone at once. */
const RELATIVE_SECONDS_MAX = 30 * 24 * 3_600;
const SECONDS_MAX = 0xffff_ffff;
const HEADER_BYTES = 24;
const NO_BYTES: Buffer = Buffer.alloc(0);

/** What one request consists of. */
export interface MemcachedRequest {
  readonly op: (typeof OPCODES)[keyof typeof OPCODES];
  readonly key: string;
  readonly value?: string;
  /** Seconds until it is forgotten; 0 for never. Only with a value. */
  readonly expiration?: number;
  /** The version that must still be there: the 8 bytes of an answer. */
  readonly cas?: Buffer;
}

/** The bytes of a request. */
export function encode({ op, key, value, expiration = 0, cas }: MemcachedRequest, seq: number): Buffer {
  const extras = value === undefined ? NO_BYTES : Buffer.alloc(8);
  if (value !== undefined) extras.writeUInt32BE(expiration, 4);
  const keyBytes = Buffer.from(key);
  const valueBytes = Buffer.from(value ?? "");
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(0x80, 0);
  header.writeUInt8(op, 1);
  header.writeUInt16BE(keyBytes.length, 2);
  header.writeUInt8(extras.length, 4);
  header.writeUInt32BE(extras.length + keyBytes.length + valueBytes.length, 8);
  header.writeUInt32BE(seq, 12);
  cas?.copy(header, 16);
  return Buffer.concat([header, extras, keyBytes, valueBytes]);
}

/** What to send so that something lasts for so many seconds, at a server that says it is `time` (in seconds since 1970). */
export function expirationIn(seconds: number, time: number): number {
  if (seconds <= RELATIVE_SECONDS_MAX) return seconds;
  const until = time + seconds;
  return until > SECONDS_MAX ? 0 : until;
}
