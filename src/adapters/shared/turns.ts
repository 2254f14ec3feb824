/**
 * Operations that are asked for in one turn of the event loop go to the store together, as soon as more than one was, and with
 * them those that came while every way to the store was busy. Nothing waits for company: what is collected goes when the
 * promises of the turn have settled, if there is a way then.
 */

import { atEndOfTurn } from "./end-of-turn.js";

/** An operation on its way, to be settled by whoever runs it. */
export interface Asked<Op> {
  readonly op: Op;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** How operations travel. */
export interface TurnsOptions<Op, Way> {
  /** So many at once. */
  readonly max: number;
  /**
   * Calls `work` as soon as there is a way to the store, which nobody else uses meanwhile. Rejects in bounded time where there
   * is none, and with what `work` rejects with.
   */
  readonly use: (work: (way: Way) => Promise<void>) => Promise<void>;
  /** Whether both may be in one request. */
  readonly fits: (first: Op, other: Op) => boolean;
  /** Of operations with the same text one request has one; undefined for what may come several times. */
  readonly once: (op: Op) => string | undefined;
  /**
   * Where ways may be taken for long: what none took for so many ms is refused with what `refusal` makes, instead of being asked when
   * nobody waits for it any more.
   */
  readonly waits?: { readonly msMax: number; readonly refusal: () => Error };
  /** Settles all of them, by and by; where it rejects, those that are not settled are rejected with that. May be given none. */
  readonly run: (way: Way, asked: readonly Asked<Op>[]) => Promise<void>;
}

/** Collects what is asked for in one turn. */
export interface Turns<Op> {
  /** The caller knows what its operation comes to. */
  add<T>(op: Op): Promise<T>;
  /** Sends all that was collected, now, before the ways are closed. */
  flush(): void;
}

/** Nothing collected yet. */
export function createTurns<Op, Way>(options: TurnsOptions<Op, Way>): Turns<Op> {
  const { max, use, fits, once, waits, run } = options;
  let waiting: (Asked<Op> & { readonly at: number })[] = [];
  /** The end of the turn, or a way to the store, is waited for: whoever comes goes along. */
  let isDue = false;

  function send(): void {
    let taken: readonly Asked<Op>[] | undefined;
    use(async (way) => {
      taken = take();
      isDue = waiting.length > 0;
      const running = run(way, taken);
      // The others go their own way, behind it.
      if (isDue) send();
      await running;
    }).catch((error: unknown) => {
      if (taken !== undefined) {
        rejectAll(taken, error);
        return;
      }
      // Without a way there is none for whoever came meanwhile, either.
      const refused = waiting;
      waiting = [];
      isDue = false;
      rejectAll(refused, error);
    });
  }

  function refuseLate(): void {
    if (waits === undefined) return;
    const { msMax, refusal } = waits;
    const since = performance.now() - msMax;
    const late = waiting.findIndex(({ at }) => at > since);
    if (late !== 0) rejectAll(waiting.splice(0, late < 0 ? waiting.length : late), refusal());
  }

  /** The oldest, and what may go with it. What comes once keeps its order. */
  function take(): readonly Asked<Op>[] {
    refuseLate();
    const first = waiting[0] as Asked<Op>;
    const taken: Asked<Op>[] = [];
    const left: typeof waiting = [];
    const met = new Set<string>();
    let i = 0;
    for (; i < waiting.length && taken.length < max; i++) {
      const each = waiting[i] as (typeof waiting)[number];
      const text = once(each.op);
      const isFirst = text === undefined || !met.has(text);
      if (each === first || (isFirst && fits(first.op, each.op))) taken.push(each);
      else left.push(each);
      if (text !== undefined) met.add(text);
    }
    waiting = [...left, ...waiting.slice(i)];
    return taken;
  }

  return {
    add<T>(op: Op): Promise<T> {
      return new Promise((resolve, reject) => {
        const at = waits === undefined ? 0 : performance.now();
        waiting.push({ op, resolve: resolve as Asked<Op>["resolve"], reject, at });
        if (isDue) return;
        isDue = true;
        atEndOfTurn(send);
      });
    },

    flush(): void {
      while (waiting.length > 0) {
        const taken = take();
        use((way) => run(way, taken)).catch((error: unknown) => rejectAll(taken, error));
      }
    },
  };
}

function rejectAll(asked: readonly Asked<unknown>[], error: unknown): void {
  for (const { reject } of asked) reject(error);
}
