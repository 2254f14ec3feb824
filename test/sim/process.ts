/**
 * One simulated client process: the `system` of its lockers. Unlike the published virtual process it can be stopped *in the
 * middle of code*, between any look at a clock and what is done with it: what the code does after such a pause takes
 * effect that much later, and nothing reaches the process before. That is exact, since code that runs sees the world
 * only through its clocks and through messages.
 */
import { instant, type Instant, type System, type Timer, type TimerPurpose } from "../../src/engine/time.js";
import { nextProposal } from "../../src/engine/token.js";
import type { Happening } from "./agenda.js";
import type { Kernel } from "./kernel.js";

/** What a process's clocks get wrong. */
export interface Clocks {
  readonly ratePpm: number;
  readonly wallOffsetMs: number;
  /** The wall clock moves on in steps of so much only. */
  readonly wallStepMs?: number;
}

/** What a coarse wall clock shows of a time. */
export function steps(ms: number, stepMs: number | undefined): number {
  return stepMs === undefined ? ms : Math.floor(ms / stepMs) * stepMs;
}

/** A process that lockers run in. */
export interface SimProcess {
  readonly name: string;
  readonly system: System;
  hasCrashed(): boolean;
  /** True time at which its code is now: ahead of the world's after a pause in the middle of code. */
  atMs(): number;
  /** When it can hear of something next. */
  runsAgainAtMs(): number;
  /** What `look()` shows at a point of true time. */
  lookAt(trueMs: number): Instant;
  /** The last point of true time at which it did not run as fast as it should; 0 if there was none. */
  disturbedUntilMs(): number;
  /** Started timers that have neither fired nor been cancelled. */
  timers(): number;
  /** The last attempt whose owner is the wanted one, and when it began, in true time. */
  attempt(isOwner: (owner: string) => boolean): { readonly owner: string; readonly atMs: number } | undefined;
  /** The event loop is busy. */
  stall(ms: number): void;
  /** The machine sleeps: the monotonic clock stands still, the boot clock does not. */
  suspend(ms: number): void;
  /** The machine is stopped from outside: none of its clocks runs. Outside of the assumptions. */
  freeze(ms: number): void;
  /** After so many more looks at a clock, the code stops right behind the look. */
  pauseAfter(looks: number, ms: number): void;
  jumpWall(ms: number): void;
  /** `kill -9`. */
  crash(): void;
}

interface SimTimer {
  /** In time awake. */
  readonly awakeDueMs: number;
  readonly run: () => void;
  next: Happening | undefined;
}

/** Wall time at true time 0: a day in 2027. */
export const EPOCH_MS = 1_800_000_000_000;
const TIMER_MS_MIN = 1;
const ZERO_MS_MAX = 1_000_000;
/** Code that looks at its clocks so often in one instant asks again and again for ever, and time would never go on. */
const LOOKS_AT_ONCE_MAX = 100_000;

/** A process that starts now. */
export function createSimProcess(kernel: Kernel, name: string, clocks: Clocks): SimProcess {
  const dice = kernel.dice();
  const ratio = 1 + clocks.ratePpm / 1e6;
  const zero = Math.floor(dice.random() * ZERO_MS_MAX);
  const startedAtMs = kernel.nowMs;
  /** Times in which no clock of it ran. */
  const frozen: { readonly fromMs: number; readonly ms: number }[] = [];
  const owners: { readonly owner: string; readonly atMs: number }[] = [];
  let wallOffsetMs = clocks.wallOffsetMs;
  let aheadUntilMs = 0;
  let suspendedUntilMs = 0;
  let stalledUntilMs = 0;
  /** All the time that it sleeps or slept, that of a suspend in force included to its end. */
  let sleptMs = 0;
  let seenSleepMs = 0;
  let lastProposal = 0n;
  let crashed = false;
  let timers = 0;
  let looksLeft = 0;
  let pauseMs = 0;
  let lookedAtMs = 0;
  let looksAtOnce = 0;

  const atMs = (): number => Math.max(kernel.nowMs, aheadUntilMs);
  const awakeMs = (): number => Math.max(atMs(), suspendedUntilMs) - sleptMs;
  const runsAgainAtMs = (): number => Math.max(kernel.nowMs, suspendedUntilMs, stalledUntilMs, aheadUntilMs);

  function unseenMs(trueMs: number): number {
    let unseen = 0;
    for (const { fromMs, ms } of frozen) unseen += Math.min(Math.max(trueMs - fromMs, 0), ms);
    return unseen;
  }

  function lookAt(trueMs: number): Instant {
    return instant(zero + (trueMs - startedAtMs - unseenMs(trueMs)) * ratio);
  }

  function pauseHere(): void {
    if (kernel.nowMs !== lookedAtMs) {
      lookedAtMs = kernel.nowMs;
      looksAtOnce = 0;
    }
    if (++looksAtOnce > LOOKS_AT_ONCE_MAX) {
      throw new Error(
        `${name} goes round in circles at ${lookedAtMs} ms: it looked at its clocks ${LOOKS_AT_ONCE_MAX} times`,
      );
    }
    if (looksLeft > 0 && --looksLeft === 0) {
      aheadUntilMs = atMs() + pauseMs;
      kernel.trace?.({
        atMs: atMs(),
        lane: name,
        kind: "fault",
        text: `runs again after a pause of ${pauseMs.toFixed(1)} ms in the middle of code`,
      });
    }
  }

  function dueAtMs(timer: SimTimer): number {
    return Math.max(timer.awakeDueMs + sleptMs, runsAgainAtMs());
  }

  /** Fires when the process has been awake long enough; looks again whenever it slept or was busy in between. */
  function planTimer(timer: SimTimer): void {
    timer.next = kernel.plan(dueAtMs(timer), () => {
      if (crashed) return;
      if (dueAtMs(timer) > kernel.nowMs) planTimer(timer);
      else {
        timer.next = undefined;
        timers--;
        timer.run();
      }
    });
  }

  /** Returns when it fell asleep. */
  function sleep(ms: number): number {
    const fromMs = Math.max(kernel.nowMs, suspendedUntilMs, aheadUntilMs);
    suspendedUntilMs = fromMs + ms;
    sleptMs += ms;
    // What it was busy with is not done while it sleeps.
    if (stalledUntilMs > kernel.nowMs) stalledUntilMs += ms;
    return fromMs;
  }

  function wallMs(): number {
    return Math.floor(steps(EPOCH_MS + atMs() - unseenMs(atMs()), clocks.wallStepMs) + wallOffsetMs);
  }

  const system: System = {
    now(): Instant {
      const now = instant(zero + (awakeMs() - startedAtMs) * ratio + seenSleepMs);
      pauseHere();
      return now;
    },
    look(): Instant {
      seenSleepMs = (atMs() - awakeMs() - unseenMs(atMs())) * ratio;
      const now = lookAt(atMs());
      pauseHere();
      return now;
    },
    wallMs,
    propose(): bigint {
      const proposal = nextProposal(lastProposal, BigInt(wallMs()) * 1000n);
      if (proposal === undefined) throw new RangeError(`the wall clock is at ${wallMs()} ms`);
      lastProposal = proposal;
      return proposal;
    },
    random: dice.random,
    newOwner(): string {
      const owner = `${name}-${owners.length + 1}`;
      owners.push({ owner, atMs: atMs() });
      return owner;
    },
    startTimer(_purpose: TimerPurpose, delayMs: number, run: () => void): Timer {
      // Not Math.max: what is no number counts as the shortest delay, as in Node.
      const delay = delayMs > TIMER_MS_MIN ? delayMs : TIMER_MS_MIN;
      const timer: SimTimer = { awakeDueMs: awakeMs() + delay / ratio, run, next: undefined };
      timers++;
      planTimer(timer);
      return timer;
    },
    cancelTimer(timer: Timer): void {
      const { next } = timer as SimTimer;
      if (next?.run === undefined) return;
      next.run = undefined;
      timers--;
    },
  };

  return {
    name,
    system,
    // No getter: one in a literal gives every object a shape of its own, and those shapes keep dead worlds in memory.
    hasCrashed: () => crashed,
    atMs,
    runsAgainAtMs,
    lookAt,
    disturbedUntilMs: () => Math.max(suspendedUntilMs, stalledUntilMs, aheadUntilMs),
    timers: () => timers,
    attempt: (isOwner) => owners.findLast(({ owner }) => isOwner(owner)),
    stall(ms: number): void {
      stalledUntilMs = Math.max(stalledUntilMs, runsAgainAtMs() + ms);
    },
    suspend: sleep,
    freeze(ms: number): void {
      frozen.push({ fromMs: sleep(ms), ms });
    },
    pauseAfter(looks: number, ms: number): void {
      looksLeft = Math.max(1, looks);
      pauseMs = ms;
    },
    jumpWall(ms: number): void {
      wallOffsetMs += ms;
    },
    crash(): void {
      crashed = true;
    },
  };
}
