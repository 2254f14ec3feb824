/**
 * Virtual time: clocks, timers and randomness for simulations and tests, decided by a seed alone. Nothing in it waits
 * for the real clock, and the same seed gives the same run, byte for byte.
 */
import { createEventQueue } from "./event-queue.js";
import { seededRandom } from "./random.js";
import { createWall, localMs, VirtualTimeError, type VirtualClockOptions } from "./virtual-clock.js";
import { createProcess, type VirtualProcess, type World } from "./virtual-process.js";

/** Options of {@link createVirtualTime}. */
export interface VirtualTimeOptions {
  /** A whole number; the same one gives the same run. */
  readonly seed: number;
  /**
   * How to let promises settle between two events. The default awaits until 100 turns of the microtask queue in a row
   * passed in which nothing touched this virtual time. In Node
   * `() => new Promise((done) => setImmediate(done))` is complete whatever the length of a chain, cheaper, and lets
   * Node notice rejections that nobody handles at the moment at which it would in production.
   */
  readonly drain?: () => Promise<void>;
}

/** The clocks of one simulated backend; fits the `clock` of `memory()`. */
export interface VirtualClock {
  /** Monotonic, from an arbitrary zero. */
  nowMs(): number;
  wallMicros(): bigint;
  /** Somebody sets the wall clock. */
  jumpWall(ms: number): void;
}

/** A simulated world's time. */
export interface VirtualTime {
  /** True time in milliseconds, from 0. No process can see it. */
  trueMs(): number;
  /** Uniform in [0, 1); for what the world does. Every process has its own. */
  random(): number;
  /** A process that starts now. */
  process(options?: VirtualClockOptions): VirtualProcess;
  /** The clocks of a backend. */
  backendClock(options?: VirtualClockOptions): VirtualClock;
  /** Resolves after `ms` of true time; only while time advances. */
  sleep(ms: number): Promise<void>;
  /** Lets `ms` of true time pass: whatever is due happens in order, and promises settle in between. */
  advance(ms: number): Promise<void>;
  /**
   * Lets time pass until `promise` settles, and settles as it did. Rejects with a {@link VirtualTimeError} when
   * `limitMs` have passed, or when nothing is left to happen that could settle it.
   */
  until<T>(promise: Promise<T>, limit: { readonly limitMs: number }): Promise<T>;
}

/** So many turns in a row must pass untouched: more than the longest chain of awaits between two looks at a clock. */
const QUIET_TURNS = 100;
const SETTLED = Promise.resolve();
/** Before it is concluded that nothing can happen any more. */
const QUIET_TURNS_AT_THE_END = 10_000;
/** Microtasks that touch the clock again and again for ever would hang the test without a word. */
const TURNS_MAX = 10_000_000;

/**
 * A new world at true time 0.
 *
 * @example
 * ```ts
 * import { createLocker } from "quorum-lock";
 * import { memory } from "quorum-lock/memory";
 * import { createVirtualTime } from "quorum-lock/testing";
 *
 * const time = createVirtualTime({ seed: 1 });
 * const backends = [1, 2, 3].map(() => memory({ clock: time.backendClock({ ratePpm: 200 }) }));
 * const locker = createLocker({ backends, system: time.process() });
 * const lease = await time.until(locker.acquire("invoice:42"), { limitMs: 1_000 });
 * ```
 */
export function createVirtualTime(options: VirtualTimeOptions): VirtualTime {
  const seeds = seededRandom(options.seed);
  const queue = createEventQueue();
  let nowMs = 0;
  let touches = 0;
  let running = false;

  const touch = (): void => {
    touches++;
  };
  const freshWorld = (): World => ({
    trueMs: () => nowMs,
    plan: queue.plan,
    touch,
    random: seededRandom(Math.floor(seeds() * 2 ** 32)),
  });
  const world = freshWorld();

  async function quiet(turns: number): Promise<void> {
    let untouched = 0;
    for (let turn = 0; untouched < turns; turn++) {
      if (turn === TURNS_MAX)
        throw new VirtualTimeError("promises settle one another for ever; time cannot go on");
      const before = touches;
      await SETTLED;
      untouched = touches === before ? untouched + 1 : 0;
    }
  }
  const drain = options.drain ?? (() => quiet(QUIET_TURNS));

  /** Lets everything happen that is due up to `endMs`, or until `stop` says so. */
  async function run(endMs: number, stop: () => boolean): Promise<void> {
    if (running)
      throw new VirtualTimeError("time is advancing already; await one advance() or until() at a time");
    if (!(endMs >= nowMs) || endMs === Number.POSITIVE_INFINITY) {
      throw new VirtualTimeError(`time can advance by a number of milliseconds only; got ${endMs - nowMs}`);
    }
    running = true;
    try {
      await drain();
      while (!stop()) {
        const nextAt = queue.nextAtMs();
        if (nextAt === undefined || nextAt > endMs) return;
        nowMs = nextAt;
        queue.takeNext()?.run?.();
        await drain();
      }
    } finally {
      running = false;
    }
  }

  return {
    trueMs: () => nowMs,
    random(): number {
      touch();
      return world.random();
    },
    process: (clock = {}) => createProcess(freshWorld(), clock),
    backendClock(clock = {}): VirtualClock {
      const own = freshWorld();
      const local = localMs(own, clock);
      const wall = createWall(own, clock);
      return {
        nowMs(): number {
          touch();
          return local(nowMs);
        },
        wallMicros(): bigint {
          touch();
          return wall.micros();
        },
        jumpWall: wall.jump,
      };
    },
    sleep(ms: number): Promise<void> {
      touch();
      return new Promise((resolve) => queue.plan(nowMs + Math.max(0, ms), resolve));
    },
    async advance(ms: number): Promise<void> {
      const endMs = nowMs + ms;
      await run(endMs, () => false);
      nowMs = endMs;
    },
    async until<T>(promise: Promise<T>, { limitMs }: { readonly limitMs: number }): Promise<T> {
      let settled = false;
      const note = (): void => {
        settled = true;
      };
      promise.then(note, note);
      const endMs = nowMs + limitMs;
      while (!settled) {
        await run(endMs, () => settled);
        if (settled) break;
        if (queue.nextAtMs() !== undefined) {
          nowMs = endMs;
          throw new VirtualTimeError(`the promise did not settle within ${limitMs} ms of virtual time`);
        }
        // A chain of promises that was longer than the drain may still plan something.
        await quiet(QUIET_TURNS_AT_THE_END);
        if (!settled && queue.nextAtMs() === undefined) {
          throw new VirtualTimeError(
            "the promise did not settle, and nothing is left to happen that could settle it",
          );
        }
      }
      return promise;
    },
  };
}
