/**
 * What is going to happen in a simulated world, the earliest first; of two at the same instant, the one planned first. The
 * same as the queue of the published virtual time, without its allocations: millions of these a minute pass through.
 */

/** Something that is going to happen. */
export interface Happening {
  /** True time, in milliseconds from 0. */
  readonly atMs: number;
  readonly order: number;
  /** Undefined once it was called off. */
  run: (() => void) | undefined;
}

/** A priority queue of happenings. */
export interface Agenda {
  plan(atMs: number, run: () => void): Happening;
  /** Takes out the next one that was not called off and happens at `endMs` at the latest. */
  takeUntil(endMs: number): Happening | undefined;
}

/** Nothing is planned. */
export function createAgenda(): Agenda {
  /** A binary heap: the parent of entry `i` is entry `(i - 1) >> 1`. */
  const heap: Happening[] = [];
  let planned = 0;

  function takeFirst(): void {
    const last = heap.pop();
    const length = heap.length;
    if (last === undefined || length === 0) return;
    let at = 0;
    for (;;) {
      let next = 2 * at + 1;
      if (next >= length) break;
      let child = heap[next] as Happening;
      if (next + 1 < length) {
        const right = heap[next + 1] as Happening;
        if (isEarlier(right, child)) {
          child = right;
          next++;
        }
      }
      if (!isEarlier(child, last)) break;
      heap[at] = child;
      at = next;
    }
    heap[at] = last;
  }

  return {
    plan(atMs: number, run: () => void): Happening {
      const entry: Happening = { atMs, order: planned++, run };
      let at = heap.length;
      heap.push(entry);
      while (at > 0) {
        const above = (at - 1) >> 1;
        const parent = heap[above] as Happening;
        if (!isEarlier(entry, parent)) break;
        heap[at] = parent;
        at = above;
      }
      heap[at] = entry;
      return entry;
    },
    takeUntil(endMs: number): Happening | undefined {
      for (;;) {
        const first = heap[0];
        if (first === undefined) return undefined;
        if (first.run === undefined) {
          takeFirst();
          continue;
        }
        if (first.atMs > endMs) return undefined;
        takeFirst();
        return first;
      }
    },
  };
}

function isEarlier(a: Happening, b: Happening): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
