/** One simulated client process: its clocks, timers and randomness, and what can happen to a real one. */
import { instant, type Instant, type System, type Timer, type TimerPurpose } from "../engine/time.js";
import { nextProposal } from "../engine/token.js";
import type { Happening } from "./event-queue.js";
import { randomHex, type Random } from "./random.js";
import { createWall, localMs, VirtualTimeError, type VirtualClockOptions } from "./virtual-clock.js";

/**
 * A simulated process. Give it to a locker as its `system`. Its clocks and timers follow true time with its own rate;
 * its wall clock has a grain of a millisecond, as `Date.now()` has.
 */
export interface VirtualProcess extends System {
  /**
   * The machine sleeps from now on for `ms` of true time: the monotonic clock stands still and no timer runs; a timer
   * that was to fire in 100 ms fires 100 ms after the machine woke. `look()` shows the time that passed, `now()` does
   * so after the next `look()`.
   */
  suspend(ms: number): void;
  /** The event loop is busy for `ms` of true time: the clocks run, and timers fire at its end if they were due. */
  stall(ms: number): void;
  /** Somebody sets the wall clock; proposals still never go back. */
  jumpWall(ms: number): void;
  /** As after `kill -9`: no timer fires any more, and {@link VirtualProcess.awake} never resolves again. */
  crash(): void;
  /**
   * Resolves when the process can run: at once, or after the suspend or stall. Whatever comes to the process from
   * outside has to wait for it; pass it to `faulty` as `receive`.
   */
  awake(): Promise<void>;
}

/** What a process needs of the world that it runs in. */
export interface World {
  trueMs(): number;
  plan(atMs: number, run: () => void): Happening;
  /** Says that something happened, so that the world is not at rest. */
  touch(): void;
  /** The generator of this process. */
  readonly random: Random;
}

/** No real timer is shorter than this, which keeps a loop of empty timers from stopping the time. */
const TIMER_MS_MIN = 1;

/** A process that starts now. */
export function createProcess(world: World, options: VirtualClockOptions): VirtualProcess {
  const toLocal = localMs(world, options);
  const wall = createWall(world, options);
  const ratio = toLocal.ratio;
  let suspendedUntil = 0;
  let stalledUntil = 0;
  /** All the time that it sleeps or slept, that of a suspend in force included to its end. */
  let frozenMs = 0;
  /** How much of a suspend the last look saw, by the local clock. */
  let seenFrozenMs = 0;
  let lastProposal = 0n;
  let crashed = false;

  /** True time less the time asleep: what drives the monotonic clock and the timers. */
  function awakeMs(): number {
    return Math.max(world.trueMs(), suspendedUntil) - frozenMs;
  }

  function now(): Instant {
    world.touch();
    return instant(toLocal(awakeMs()) + seenFrozenMs);
  }

  function runsAgainAt(): number {
    return Math.max(world.trueMs(), suspendedUntil, stalledUntil);
  }

  /** Fires when the process has been awake long enough; looks again whenever it slept or was busy in between. */
  function planTimer(timer: ProcessTimer): void {
    const dueAt = (): number => Math.max(timer.awakeDueMs + frozenMs, runsAgainAt());
    timer.next = world.plan(dueAt(), () => {
      if (crashed) return;
      if (dueAt() > world.trueMs()) planTimer(timer);
      else timer.run();
    });
  }

  async function awake(): Promise<void> {
    while (runsAgainAt() > world.trueMs()) {
      await new Promise<void>((resolve) => world.plan(runsAgainAt(), resolve));
    }
    if (crashed) await new Promise<never>(() => undefined);
  }

  return {
    now,
    look(): Instant {
      seenFrozenMs = (world.trueMs() - awakeMs()) * ratio;
      return now();
    },
    wallMs(): number {
      world.touch();
      return Number(wall.micros() / 1000n);
    },
    propose(): bigint {
      world.touch();
      const wallMicros = (wall.micros() / 1000n) * 1000n;
      const proposal = nextProposal(lastProposal, wallMicros);
      if (proposal === undefined)
        throw new VirtualTimeError(`the wall clock is at ${wallMicros} microseconds`);
      lastProposal = proposal;
      return proposal;
    },
    random(): number {
      world.touch();
      return world.random();
    },
    newOwner(): string {
      world.touch();
      return randomHex(world.random);
    },
    startTimer(_purpose: TimerPurpose, delayMs: number, run: () => void): Timer {
      world.touch();
      // Not Math.max: what is no number counts as the shortest delay, as in Node.
      const delay = delayMs > TIMER_MS_MIN ? delayMs : TIMER_MS_MIN;
      const timer: ProcessTimer = { awakeDueMs: awakeMs() + delay / ratio, run, next: undefined };
      planTimer(timer);
      return timer;
    },
    cancelTimer(timer: Timer): void {
      world.touch();
      const { next } = timer as ProcessTimer;
      if (next !== undefined) next.run = undefined;
    },
    suspend(ms: number): void {
      const from = Math.max(world.trueMs(), suspendedUntil);
      suspendedUntil = Math.max(from, world.trueMs() + ms);
      frozenMs += suspendedUntil - from;
      // What it was busy with is not done while it sleeps.
      if (stalledUntil > world.trueMs()) stalledUntil += suspendedUntil - from;
    },
    stall(ms: number): void {
      stalledUntil = Math.max(stalledUntil, Math.max(world.trueMs(), suspendedUntil) + ms);
    },
    jumpWall: wall.jump,
    crash(): void {
      crashed = true;
    },
    awake,
  };
}

interface ProcessTimer {
  /** When it fires, in time awake. */
  readonly awakeDueMs: number;
  readonly run: () => void;
  next: Happening | undefined;
}
