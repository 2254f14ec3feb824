/** A watch that is begun anew when it broke, until it is stopped. */

/** One watch. */
export interface WatchEnds {
  /** It stands. */
  readonly well: () => void;
  /** It is over, and ended nothing by itself that is not ended; may be called again. */
  readonly gone: () => void;
}

const AGAIN_MS_MIN = 50;
const AGAIN_MS_MAX = 5_000;

/** `begin` begins one, never tells anything before it returns, and returns how to end it. Returns how to stop. */
export function keepWatching(begin: (ends: WatchEnds) => () => void): () => void {
  let againMs = AGAIN_MS_MIN;
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;
  let end: (() => void) | undefined;

  function start(): void {
    let isOver = false;
    end = begin({
      well() {
        if (!isOver) againMs = AGAIN_MS_MIN;
      },
      gone() {
        if (isOver || isStopped) return;
        isOver = true;
        end?.();
        timer = setTimeout(start, againMs);
        // Whoever waits keeps the process alive; a watch need not.
        timer.unref();
        againMs = Math.min(2 * againMs, AGAIN_MS_MAX);
      },
    });
  }

  start();
  return () => {
    if (isStopped) return;
    isStopped = true;
    clearTimeout(timer);
    end?.();
  };
}
