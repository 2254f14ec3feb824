/** True time of one world, what is planned in it, its dice and its trace. */
import { seededRandom, type Random } from "../../src/testing/random.js";
import { createAgenda, type Happening } from "./agenda.js";
import type { Stretch } from "./drain.js";

/** One line of a trace. */
export interface TraceLine {
  readonly atMs: number;
  /** The client or backend that it happened to; "world" for faults of no single one. */
  readonly lane: string;
  readonly text: string;
  /** What kind of thing it was, for whoever draws it. */
  readonly kind: "fault" | "send" | "execute" | "reply" | "lease" | "write" | "phase";
}

/** The world's time. */
export interface Kernel {
  /** True time in milliseconds, from 0. No process can see it. */
  readonly nowMs: number;
  /** How many events have happened. */
  readonly events: number;
  plan(atMs: number, run: () => void): Happening;
  /** A generator of its own, so that what one part of the world draws never shifts what another draws. */
  dice(): Dice;
  /** Undefined when nobody asked for a trace, so that its text is not even made. */
  readonly trace: ((line: TraceLine) => void) | undefined;
  /** Ends the world: what happened is a fault of the code, and none that it may have. */
  fail(error: unknown): void;
  /** The stretch of time up to `endMs`, or until `stop` says so. */
  until(endMs: number, stop?: () => boolean): Stretch;
}

/** Draws. */
export interface Dice {
  readonly random: Random;
  between(min: number, max: number): number;
  whole(min: number, max: number): number;
  pick<T>(list: readonly T[]): T;
  chance(probability: number): boolean;
}

export function createDice(seed: number): Dice {
  const random = seededRandom(seed);
  return {
    random,
    between: (min, max) => min + random() * (max - min),
    whole: (min, max) => min + Math.floor(random() * (max - min + 1)),
    pick: <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T,
    chance: (probability) => random() < probability,
  };
}

/** A world at true time 0. */
export function createKernel(seed: number, trace?: (line: TraceLine) => void): Kernel {
  const agenda = createAgenda();
  const seeds = seededRandom(seed);
  let failure: { readonly error: unknown } | undefined;
  const kernel = {
    nowMs: 0,
    events: 0,
    plan: agenda.plan,
    dice: () => createDice(Math.floor(seeds() * 2 ** 48)),
    trace,
    fail(error: unknown): void {
      failure ??= { error };
    },
    until(endMs: number, stop?: () => boolean): Stretch {
      return () => {
        if (failure !== undefined) throw failure.error;
        if (stop?.() === true) return false;
        const next = agenda.takeUntil(endMs);
        if (next === undefined) {
          kernel.nowMs = Math.max(kernel.nowMs, endMs);
          return false;
        }
        if (next.atMs > kernel.nowMs) kernel.nowMs = next.atMs;
        kernel.events++;
        next.run?.();
        return true;
      };
    },
  };
  return kernel;
}
