/** The mark of a store that keeps it as one text: what it says, and what becomes of it. */
import type { Deployment } from "../../backend.js";

/** What a mark says. */
export interface Mark {
  /** The kind of memory (one letter), the memory of the store, and a random part, joined by "." */
  readonly incarnation: string;
  readonly backends: number;
  readonly quorum: number;
  readonly maxTtlMs: number;
  readonly joined: boolean;
  /** By the store's clock; 0 when there is none. */
  readonly quarantinedUntilMs: number;
}

const FORM = /^ql1 (\S+) (\d+) (\d+) (\d+) ([01]) (\d+)$/;

/** Undefined when it is no mark of this format. */
export function parseMark(text: string): Mark | undefined {
  const [, incarnation, backends, quorum, maxTtlMs, joined, until] = FORM.exec(text) ?? [];
  if (incarnation === undefined) return undefined;
  return {
    incarnation,
    backends: Number(backends),
    quorum: Number(quorum),
    maxTtlMs: Number(maxTtlMs),
    joined: joined === "1",
    quarantinedUntilMs: Number(until),
  };
}

/** The text of a mark; equal marks have equal texts. */
export function markText(mark: Mark): string {
  const { incarnation, backends, quorum, maxTtlMs, joined, quarantinedUntilMs } = mark;
  return `ql1 ${incarnation} ${backends} ${quorum} ${maxTtlMs} ${joined ? 1 : 0} ${Math.ceil(quarantinedUntilMs)}`;
}

/** Whether a mark was written by clients with the same figures. */
export function sameFigures(mark: Mark, deployment: Deployment): boolean {
  return (
    mark.backends === deployment.backends &&
    mark.quorum === deployment.quorum &&
    mark.maxTtlMs === deployment.maxTtlMs
  );
}
