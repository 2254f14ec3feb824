/**
 * A backend's mark as a value: which memory this is, for which deployment it was written, and whether it may vote. The
 * rules are those of `docs/protocol.md`. Its text is the same in every store.
 */

/** What clients say of the memory of a backend. "off": that it never forgets, so that nothing has to be watched. */
export type MemoryKind = "volatile" | "durable" | "off";

/** What all clients of a deployment must agree on, as far as a mark holds it. */
export interface MarkFigures {
  readonly backends: number;
  readonly quorum: number;
  readonly maxTtlMs: number;
}

/** What a backend keeps of itself. */
export interface Mark extends MarkFigures {
  /** Names the memory: its kind, its origin, and a random part, with dots between. */
  readonly incarnation: string;
  readonly joined: boolean;
  /** Milliseconds of the backend's clock; 0 for none. */
  readonly quarantinedUntil: number;
}

/** What the clients of this deployment expect of a mark. */
export interface MarkExpectation {
  readonly figures: MarkFigures;
  readonly memory: MemoryKind;
  /** Names the process or store as far as it can be told; another one is another memory. No blanks. */
  readonly origin: string;
  readonly quarantineMs: number;
}

const TEXT = /^ql1 (\S+) (\d+) (\d+) (\d+) ([01]) (\d+)$/;

/** The mark as it is stored. */
export function formatMark(mark: Mark): string {
  const { incarnation, backends, quorum, maxTtlMs, joined, quarantinedUntil } = mark;
  // Up to the next whole millisecond: a quarantine may be longer, never shorter.
  return `ql1 ${incarnation} ${backends} ${quorum} ${maxTtlMs} ${joined ? 1 : 0} ${Math.ceil(quarantinedUntil)}`;
}

/** The mark that a text stands for; undefined when it is no mark, or of another format. */
export function parseMark(text: string): Mark | undefined {
  const [, incarnation, backends, quorum, maxTtlMs, joined, quarantinedUntil] = TEXT.exec(text) ?? [];
  if (incarnation === undefined) return undefined;
  return {
    incarnation,
    backends: Number(backends),
    quorum: Number(quorum),
    maxTtlMs: Number(maxTtlMs),
    joined: joined === "1",
    quarantinedUntil: Number(quarantinedUntil),
  };
}

/** Whether a mark was written by clients with the same figures, who say the same of its memory. */
export function markFits(mark: Mark, { figures, memory }: MarkExpectation): boolean {
  return (
    memoryOf(mark) === memory &&
    mark.backends === figures.backends &&
    mark.quorum === figures.quorum &&
    mark.maxTtlMs === figures.maxTtlMs
  );
}

/** What the clients that wrote a mark say of the memory; undefined for a kind that is not known. */
export function memoryOf({ incarnation }: Mark): MemoryKind | undefined {
  return MEMORY_KINDS.find((kind) => incarnation.startsWith(`${kind[0]}.`));
}

const MEMORY_KINDS: readonly MemoryKind[] = ["volatile", "durable", "off"];

/**
 * The mark that the memory of now must have: the one found, if it is this memory's, else a new one, in quarantine. A mark
 * of another memory that is found tells that a deployment existed before: the new one is joined.
 */
export function markOf(
  found: Mark | undefined,
  expected: MarkExpectation,
  fresh: { readonly id: string; readonly nowMs: number },
): Mark {
  const { memory, origin, quarantineMs } = expected;
  const { backends, quorum, maxTtlMs } = expected.figures;
  const name = origin === "" ? `${memory[0]}.` : `${memory[0]}.${origin}.`;
  if (found?.incarnation.startsWith(name) === true) return found;
  return {
    incarnation: name + fresh.id,
    backends,
    quorum,
    maxTtlMs,
    joined: found !== undefined,
    quarantinedUntil: memory === "off" ? 0 : fresh.nowMs + quarantineMs,
  };
}

/** In service, if it is still that memory; undefined where nothing changes. */
export function markBootstrapped(mark: Mark, incarnation: string): Mark | undefined {
  if (mark.incarnation !== incarnation || mark.quarantinedUntil === 0) return undefined;
  return { ...mark, quarantinedUntil: 0 };
}

/** Joined, if it is still that memory; undefined where nothing changes. */
export function markJoined(mark: Mark, incarnation: string): Mark | undefined {
  return mark.incarnation !== incarnation || mark.joined ? undefined : { ...mark, joined: true };
}

/** As if its memory were new and had been joined: what was meant for the memory before means nothing to it. */
export function markQuarantined(
  mark: Mark,
  begun: { readonly id: string; readonly nowMs: number; readonly quarantineMs: number },
): Mark {
  return {
    ...mark,
    incarnation: mark.incarnation.replace(/[^.]*$/, "") + begun.id,
    joined: true,
    quarantinedUntil: begun.nowMs + begun.quarantineMs,
  };
}

/** For how long it does not vote, in milliseconds; 0 when it votes. */
export function quarantineLeftMs(mark: Mark, nowMs: number): number {
  return Math.max(0, mark.quarantinedUntil - nowMs);
}
