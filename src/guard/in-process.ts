/** The check of a fencing token where the protected write happens, for resources that live in this process. */
import { StaleTokenError } from "../errors.js";

/** The highest token seen, by key. Lives as long as this object: it protects nothing across a restart. */
export interface HighWaterMarks {
  /** The highest token seen for a key; undefined before the first. */
  highest(key: string): bigint | undefined;
  /** Takes note of a token; false, and nothing noted, when a higher one was seen. */
  advance(key: string, token: bigint): boolean;
}

/** Has seen nothing. One for each protected resource. */
export function createHighWaterMarks(): HighWaterMarks {
  const marks = new Map<string, bigint>();
  return {
    highest: (key) => marks.get(key),
    advance(key: string, token: bigint): boolean {
      const highest = marks.get(key);
      if (highest !== undefined && token < highest) return false;
      marks.set(key, token);
      return true;
    },
  };
}

/**
 * Lets a write pass when no newer holder has written, and refuses it otherwise. Equal tokens pass: one holder writes
 * many times. Check and write in one turn of the event loop: with an `await` in between, a newer holder may write first.
 *
 * @example
 * ```ts
 * import { createHighWaterMarks, guardInProcess } from "quorum-lock";
 *
 * const marks = createHighWaterMarks();
 * const balance = new Map<string, number>();
 *
 * function write(lease: { key: string; token: bigint }, value: number): void {
 *   guardInProcess(marks, lease);
 *   balance.set(lease.key, value);
 * }
 * ```
 *
 * @throws StaleTokenError
 */
export function guardInProcess(
  marks: HighWaterMarks,
  lease: { readonly key: string; readonly token: bigint },
): void {
  if (marks.advance(lease.key, lease.token)) return;
  throw new StaleTokenError(lease.key, {
    token: lease.token,
    highest: marks.highest(lease.key) ?? lease.token,
  });
}
