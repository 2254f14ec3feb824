/** Pauses and waits that can be ended: by a bound, by the caller's signal, by the close of the locker. */
import type { System } from "../engine/time.js";

/** Ends waits early; a locker has one for its close, a caller's AbortSignal makes another. */
export interface Interruption {
  /** Set once, when waits must end. */
  interrupted(): boolean;
  /** Calls `listener` when waits must end; returns how to stop listening. */
  listen(listener: () => void): () => void;
}

/** An interruption that its owner triggers. */
export interface InterruptionSource extends Interruption {
  interrupt(): void;
}

/** One who listens, in a ring; without neighbours once he has stopped. */
interface Listening {
  readonly listener: () => void;
  before: Listening;
  behind: Listening;
}

/**
 * One that has not been triggered. The listeners are a ring and not a `Set`: a busy locker has one come and go with every
 * attempt, a `Set` makes itself anew for every hundred of them, and V8 keeps what was in the old ones until it collects all of the heap.
 */
export function createInterruption(): InterruptionSource {
  const ring = ringOf(() => undefined);
  let interrupted = false;
  return {
    interrupted: () => interrupted,
    listen(listener: () => void): () => void {
      const listening: Listening = { listener, before: ring.before, behind: ring };
      ring.before.behind = listening;
      ring.before = listening;
      return () => unlink(listening);
    },
    interrupt(): void {
      interrupted = true;
      while (ring.behind !== ring) {
        const { behind } = ring;
        unlink(behind);
        behind.listener();
      }
    },
  };
}

function ringOf(listener: () => void): Listening {
  const ring = { listener } as Listening;
  ring.before = ring;
  ring.behind = ring;
  return ring;
}

/** Harmless when it is done already. */
function unlink(listening: Listening): void {
  const { before, behind } = listening;
  before.behind = behind;
  behind.before = before;
  listening.before = listening;
  listening.behind = listening;
}

/** Ends waits when either does. */
export function either(first: Interruption, signal: AbortSignal | undefined): Interruption {
  if (signal === undefined) return first;
  return {
    interrupted: () => first.interrupted() || signal.aborted,
    listen(listener: () => void): () => void {
      const stop = first.listen(listener);
      signal.addEventListener("abort", listener, { once: true });
      return () => {
        stop();
        signal.removeEventListener("abort", listener);
      };
    },
  };
}

/** Resolves with the promise, or with undefined as soon as it is interrupted. */
export function orInterrupted<T>(promise: Promise<T>, interruption: Interruption): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const stop = interruption.listen(() => resolve(undefined));
    promise.then(
      (value) => {
        stop();
        resolve(value);
      },
      (error: unknown) => {
        stop();
        reject(error);
      },
    );
  });
}

/** Resolves after `delayMs`, or as soon as it is interrupted. */
export function pause(system: System, delayMs: number, interruption: Interruption): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      stop();
      system.cancelTimer(timer);
      resolve();
    };
    const stop = interruption.listen(finish);
    const timer = system.startTimer("work", delayMs, finish);
  });
}
