/** What a session makes of the text that it finds in the place of its mark, whatever the store is. */
import { randomBytes } from "node:crypto";
import type { BackendIdentity, Deployment } from "../../backend.js";
import {
  markFits,
  markOf,
  parseMark,
  type Mark,
  type MarkExpectation,
  type MemoryKind,
} from "../../engine/mark.js";
import { foreignMark, mismatch } from "./refusals.js";

/** Reads the marks of one session. */
export interface MarkReader {
  /**
   * The mark that belongs there. `isThere`: it is what was found, so that nothing need be written. Throws
   * `BACKEND_MARK_MISMATCH` for the mark of another deployment and for what is no mark.
   */
  read(
    text: string | undefined,
    /** See `MarkExpectation.origin`; the store's clock. */
    at: { readonly origin: string; readonly nowMs: number },
  ): { readonly mark: Mark; readonly isThere: boolean };
  /** Who answers: the same object while nothing changes, which the locker compares at every answer. */
  identityOf(mark: Mark, serverId: string): BackendIdentity;
}

/** What a reader needs of its session. */
export interface MarkReaderOptions {
  readonly name: string;
  readonly deployment: Deployment;
  readonly memory: MemoryKind;
  /** Where the mark lies, for messages that tell how to delete it. */
  readonly markPlace: string;
}

/** Has read nothing yet. */
export function createMarkReader({ name, deployment, memory, markPlace }: MarkReaderOptions): MarkReader {
  const { quarantineMs } = deployment;
  /** For the next mark that is written; used once. */
  let id = newMemoryId();
  let identity: BackendIdentity = { serverId: "", incarnation: "" };

  return {
    read(text, { origin, nowMs }) {
      const expected: MarkExpectation = { figures: deployment, memory, origin, quarantineMs };
      const found = text === undefined ? undefined : parseMark(text);
      if (text !== undefined && found === undefined) throw foreignMark(name, text, markPlace);
      if (found !== undefined && !markFits(found, expected)) throw mismatch(name, found, expected, markPlace);
      const mark = markOf(found, expected, { id, nowMs });
      if (mark === found) return { mark, isThere: true };
      id = newMemoryId();
      return { mark, isThere: false };
    },
    identityOf({ incarnation }, serverId) {
      if (identity.serverId !== serverId || identity.incarnation !== incarnation) {
        identity = { serverId, incarnation };
      }
      return identity;
    },
  };
}

/** What clients of a deployment rely on after a restart; see `engine/mark.ts`. */
export function memoryKind({ restartGuard }: Deployment, durable: boolean): MemoryKind {
  if (restartGuard === "off") return "off";
  return durable ? "durable" : "volatile";
}

/** Names a memory among all that there ever were. */
export function newMemoryId(): string {
  return randomBytes(16).toString("hex");
}
