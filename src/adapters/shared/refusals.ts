/** What adapters say, each in the same words, when they refuse to act. */
import { memoryOf, type Mark, type MarkExpectation, type MemoryKind } from "../../engine/mark.js";
import { BackendError, markMismatch, show } from "../../errors.js";

const MEMORIES: Readonly<Record<MemoryKind, string>> = {
  volatile: "volatile",
  durable: "durable: true",
  off: 'restartGuard: "off"',
};

/** A mark that was written by clients with other figures, or who say something else of the memory. */
export function mismatch(
  backend: string,
  mark: Mark,
  expected: MarkExpectation,
  where = "its mark",
): BackendError {
  const kind = memoryOf(mark);
  const marked = { ...mark, memory: kind === undefined ? "another kind of memory" : MEMORIES[kind] };
  return markMismatch({ backend, mark: where }, marked, {
    ...expected.figures,
    memory: MEMORIES[expected.memory],
  });
}

/** What stands in the place of the mark is none, or of another format. */
export function foreignMark(backend: string, text: string, where: string): BackendError {
  const what = `its mark, ${where}, has another format: ${show(text)}`;
  return new BackendError("BACKEND_MARK_MISMATCH", { backend, what });
}

/** A counter at its end. */
export function counterBroken(backend: string, key: string): BackendError {
  const what = `the counter of key ${show(key)} has reached 2^53 - 2 and may not count any further`;
  return new BackendError("BACKEND_COUNTER_BROKEN", { backend, what });
}

/** Something in the place of a record that is none. */
export function noRecord(backend: string, key: string): BackendError {
  const what = `something else than a lock is stored in the place of ${show(key)}; it is left alone`;
  return new BackendError("BACKEND_WRONG_TYPE", { backend, what });
}

/** A mark that somebody took apart: what belongs to it is missing. */
export function brokenMark(backend: string, where: string, why: string): BackendError {
  const what = `its mark ${where} is broken: ${why}. Stop all clients, wait until the longest TTL has passed, delete it, start`;
  return new BackendError("BACKEND_MARK_MISMATCH", { backend, what });
}
