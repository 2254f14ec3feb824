/**
 * Many cases at once, for backends whose locks end by the second: nearly all the time of a case is waiting. Vitest itself
 * runs five tests of a file at once.
 */

/** Runs what it is given, so many at once; each promise is that of its own work. */
export function crowd(limit: number): (work: () => Promise<void>) => Promise<void> {
  let free = limit;
  let waiting: readonly (() => void)[] = [];
  return (work) => {
    const turn = free > 0 ? Promise.resolve() : new Promise<void>((go) => (waiting = [...waiting, go]));
    if (free > 0) free--;
    const done = turn.then(work).finally(() => {
      const [next, ...others] = waiting;
      waiting = others;
      if (next === undefined) free++;
      else next();
    });
    // A failure is told by whoever awaits the promise, later perhaps.
    done.catch(() => undefined);
    return done;
  };
}
