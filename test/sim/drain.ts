/**
 * Letting promises settle between two events of virtual time. A world is written as a generator that yields where a
 * stretch of time passes; whoever runs it has the microtask queue run dry ahead of each event of the stretch and behind
 * the last one, and decides how. Both ways are complete whatever the length of a chain of promises, and a test compares
 * their traces.
 */

/** A stretch of virtual time: has the next event happen; false when there is none left in it. */
export type Stretch = () => boolean;

/** A world in progress: it yields the stretches of its time, and returns what came of it. */
export type Running<T> = Generator<Stretch, T, void>;

/** Runs the microtask queue dry, and tells of unhandled rejections; undefined where Node offers no such call. */
type Tick = (() => void) | undefined;

/**
 * What Node itself does between two timers. It was never a documented part of Node's interface, but is there from Node
 * 0.x to 26 and costs a tenth of a microsecond, where a turn of the event loop costs more than a simulated event.
 */
const found: unknown = Reflect.get(process, "_tickCallback");
const tick: Tick = typeof found === "function" ? () => Reflect.apply(found, process, []) : undefined;

/** How to drain. "turn": a turn of the event loop for each event; slow, and of documented parts only. */
export type Drain = "tick" | "turn";

/** The cheapest way that this Node offers. */
export const CHEAPEST: Drain = tick === undefined ? "turn" : "tick";

/** Runs a world to its end. */
export function drive<T>(running: Running<T>, drain: Drain = CHEAPEST): Promise<T> {
  return drain === "tick" && tick !== undefined ? byTicks(running, tick) : byTurns(running);
}

function byTicks<T>(running: Running<T>, run: () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    // Not from a microtask: the queue runs dry only when it is not running already.
    setImmediate(() => {
      try {
        for (;;) {
          const step = running.next();
          if (step.done === true) {
            resolve(step.value);
            return;
          }
          do run();
          while (step.value());
        }
      } catch (error) {
        reject(error as Error);
      }
    });
  });
}

async function byTurns<T>(running: Running<T>): Promise<T> {
  for (;;) {
    const step = running.next();
    if (step.done === true) return step.value;
    do {
      await new Promise<void>((done) => {
        setImmediate(done);
      });
    } while (step.value());
  }
}
