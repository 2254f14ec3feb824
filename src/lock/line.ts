/** Waiters of one locker for the same key stand in line here, and only the first of them asks the backends. */
import type { System, Timer } from "../engine/time.js";
import type { Interruption } from "./waiting.js";

/** The lines of one locker. What is kept of a line is what its first waiters learnt last. */
export interface Line<Shown> {
  enter(key: string): Place<Shown>;
}

/** One waiter's place. Left exactly once. */
export interface Place<Shown> {
  /** Resolves to true when it is first; to false after `withinMs`, or when it is interrupted. */
  turn(withinMs: number, interruption: Interruption): Promise<boolean>;
  /** What the first in line learnt last. */
  shown(): Shown | undefined;
  show(shown: Shown): void;
  leave(): void;
}

interface Waiters<Shown> {
  readonly waiting: Set<Waiter>;
  shown: Shown | undefined;
}

interface Waiter {
  /** Tells that it is first; set while it waits. */
  first: (() => void) | undefined;
}

/** Nobody waits. */
export function createLine<Shown>(system: System): Line<Shown> {
  const lines = new Map<string, Waiters<Shown>>();

  return {
    enter(key: string): Place<Shown> {
      const line = lines.get(key) ?? { waiting: new Set<Waiter>(), shown: undefined };
      if (line.waiting.size === 0) lines.set(key, line);
      const waiter: Waiter = { first: undefined };
      line.waiting.add(waiter);
      const isFirst = (): boolean => firstOf(line.waiting) === waiter;

      return {
        turn(withinMs, interruption) {
          // It would hear nothing any more.
          if (interruption.interrupted()) return Promise.resolve(false);
          if (isFirst()) return Promise.resolve(true);
          return new Promise((resolve) => {
            const settle = (its: boolean): void => {
              waiter.first = undefined;
              system.cancelTimer(timer);
              stop();
              resolve(its);
            };
            const timer: Timer = system.startTimer("work", withinMs, () => settle(false));
            const stop = interruption.listen(() => settle(false));
            // Not assigned as it is made: V8 keeps a function that is, and all that it knows, until it collects all of the heap.
            const isItsTurn = (): void => settle(true);
            waiter.first = isItsTurn;
          });
        },
        shown: () => line.shown,
        show(shown) {
          line.shown = shown;
        },
        leave() {
          line.waiting.delete(waiter);
          if (line.waiting.size === 0) lines.delete(key);
          else firstOf(line.waiting)?.first?.();
        },
      };
    },
  };
}

function firstOf(waiting: ReadonlySet<Waiter>): Waiter | undefined {
  for (const waiter of waiting) return waiter;
  return undefined;
}
