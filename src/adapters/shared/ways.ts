/** So many at once, for a store that would take any number: who comes when all are taken goes with the next. */

/** Runs work; where so many are running, when one of them has settled. */
export type Ways = (work: () => Promise<void>) => Promise<void>;

/** All free. */
export function createWays(max: number): Ways {
  let free = max;
  let waiting: readonly (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => (waiting = [...waiting, resolve]));
    try {
      await work();
    } finally {
      const [next, ...others] = waiting;
      waiting = others;
      if (next === undefined) free++;
      else next();
    }
  };
}
