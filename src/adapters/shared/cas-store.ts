/** What an adapter provides whose store can replace a value only if it is still the one that was read. */
import type { Examination, ListPage, ListRequest } from "../../backend.js";
import type { KeptLine } from "../../engine/line.js";
import type { ClockReading, KeptKey } from "../../engine/record.js";

/** A value, and the version by which the store knows it again. */
export interface Stored<Value, Version> {
  readonly value: Value;
  readonly version: Version;
}

/** What a store says of itself while it answers. */
export interface MarkLook<Version> {
  /** The clock by which locks and quarantines end. Read after the look was asked for, never remembered. */
  readonly now: ClockReading;
  /** The store's wall clock, to clamp proposals by; undefined where it shows none, so that they are taken as they are. */
  readonly wall: ClockReading | undefined;
  /** The text of the mark; undefined where there is none. */
  readonly mark: Stored<string, Version> | undefined;
  /**
   * Names the process (of a volatile store) or the data (of a durable one) as far as the store tells; another one is
   * another memory. No blanks. "" where the mark alone has to tell.
   */
  readonly origin: string;
  /** Names the server: two backends with the same one are one server. "" where only its memory can be named. */
  readonly serverId: string;
}

/** What a store says of itself and of one key, at once. */
export interface Look<Version> extends MarkLook<Version> {
  readonly key: Stored<KeptKey, Version> | undefined;
}

/** What a look is for. */
export interface Intent {
  /** The TTL of the lock that may be written after it, for stores that prepare for it; undefined when none may be. */
  readonly ttlMs: number | undefined;
}

/** What a write relies on. */
export interface Reliance<Version> {
  readonly look: Look<Version>;
  /** Whether the mark must still be the one of the look, too. */
  readonly onMark: boolean;
}

/** What a store shows of the line of a key without being asked. */
export interface LineSight {
  readonly line: KeptLine | undefined;
  /** Whether nobody has the lock, as far as this shows; not to be relied on. */
  readonly isFree: boolean;
}

/**
 * A store with compare and swap. Every method has a bound of its own and rejects with a `BackendError`; the effect of one
 * that was rejected is unknown unless the code says otherwise.
 */
export interface CasStore<Version> {
  look(key: string, intent: Intent): Promise<Look<Version>>;
  /**
   * Replaces the record of a key if it is still the one of the look, and if, where it relies on the mark, that is still
   * there as well: both in one atomic step, or the mark read again before and after on a connection that did not
   * change. "conflict": nothing was written, or it was taken back.
   */
  put(key: string, next: KeptKey, reliance: Reliance<Version>): Promise<"written" | "conflict">;
  /** No write follows a look at that key, so that what was prepared for one may be given up. */
  discard?(look: Look<Version>, key: string): void;
  lookAtMark(): Promise<MarkLook<Version>>;
  /** Replaces the mark if it is still the one of that version; `seen` undefined: if there is still none. */
  putMark(text: string, seen: Version | undefined): Promise<"written" | "conflict">;
  list(request: ListRequest): Promise<ListPage>;
  examine(): Promise<Examination>;
  /** Deletes some records of which nothing counts any more; called now and then, not awaited by anybody. */
  forget?(now: ClockReading): Promise<void>;
  /**
   * Tells the line of a key as it is when it begins to look, and again whenever it changed, as soon as the store tells: by
   * a watch of the store, not by asking again and again, and never within this call. Goes on over broken connections until it is stopped, and
   * then leaves nothing behind. Changes that follow each other closely may be told as one. Missing where a store has no such
   * watch: then nobody stands in line, and whoever waits asks now and then.
   */
  watch?(key: string, changed: (sight: LineSight) => void): () => void;
  /** So many keys may be watched at a time. Default 256. */
  readonly watchesMax?: number;
  close(): Promise<void>;
}
