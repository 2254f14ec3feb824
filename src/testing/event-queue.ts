/** What is going to happen in virtual time, the earliest first; of two at the same instant, the one planned first. */

/** Something that is going to happen. */
export interface Happening {
  /** True time, in milliseconds from 0. */
  readonly atMs: number;
  /** Undefined once it was called off. */
  run: (() => void) | undefined;
}

interface Planned extends Happening {
  readonly order: number;
}

/** A priority queue of happenings. */
export interface EventQueue {
  plan(atMs: number, run: () => void): Happening;
  /** When the next one happens that was not called off. */
  nextAtMs(): number | undefined;
  /** Takes it out. */
  takeNext(): Happening | undefined;
}

/** Nothing is planned. */
export function createEventQueue(): EventQueue {
  /** A binary heap: the parent of entry `i` is entry `(i - 1) >> 1`. */
  const heap: Planned[] = [];
  let planned = 0;

  function plan(atMs: number, run: () => void): Happening {
    const entry: Planned = { atMs, order: planned++, run };
    let at = heap.length;
    heap.push(entry);
    for (;;) {
      const parent = heap[(at - 1) >> 1];
      if (at === 0 || parent === undefined || !earlier(entry, parent)) break;
      heap[at] = parent;
      at = (at - 1) >> 1;
    }
    heap[at] = entry;
    return entry;
  }

  function takeFirst(): void {
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]];
      const toRight = left !== undefined && right !== undefined && earlier(right, left);
      const child = toRight ? right : left;
      if (child === undefined || !earlier(child, last)) break;
      heap[at] = child;
      at = 2 * at + (toRight ? 2 : 1);
    }
    heap[at] = last;
  }

  function first(): Planned | undefined {
    while (heap[0] !== undefined && heap[0].run === undefined) takeFirst();
    return heap[0];
  }

  return {
    plan,
    nextAtMs: () => first()?.atMs,
    takeNext(): Happening | undefined {
      const next = first();
      if (next !== undefined) takeFirst();
      return next;
    },
  };
}

function earlier(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
