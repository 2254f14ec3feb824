/** Clocks that follow the true time of a simulation, each with its own rate, zero and wall time. */
import type { Random } from "./random.js";

/** What one clock gets wrong. */
export interface VirtualClockOptions {
  /** How much faster than true time its monotonic clock runs, in parts per million. Default 0. */
  readonly ratePpm?: number;
  /** How far ahead its wall clock is, in milliseconds. The wall clock runs at the true rate. Default 0. */
  readonly wallOffsetMs?: number;
}

/** Thrown when a simulation cannot go on as asked. */
export class VirtualTimeError extends Error {
  readonly code = "VIRTUAL_TIME";
  override readonly name: string = "VirtualTimeError";
}

/** Where true time comes from. */
interface TrueTime {
  trueMs(): number;
  readonly random: Random;
}

/** Wall time at true time 0: a day in 2027. */
const EPOCH_MICROS = 1_800_000_000_000_000n;

/** Monotonic clocks start anywhere below this, so that instants of two processes are never comparable by chance. */
const ZERO_MS_MAX = 1_000_000;

/** What a monotonic clock shows at a point of true time. */
export type LocalMs = ((trueMs: number) => number) & { readonly ratio: number };

/** A monotonic clock that starts now, at a whole number of milliseconds that the seed decides. */
export function localMs(time: TrueTime, options: VirtualClockOptions): LocalMs {
  const ratio = 1 + (options.ratePpm ?? 0) / 1e6;
  if (!(ratio > 0)) throw new VirtualTimeError(`ratePpm must be above -1,000,000; got ${options.ratePpm}`);
  const zero = Math.floor(time.random() * ZERO_MS_MAX);
  const startedAt = time.trueMs();
  return Object.assign((trueMs: number) => zero + (trueMs - startedAt) * ratio, { ratio });
}

/** A wall clock. */
export interface Wall {
  micros(): bigint;
  jump(ms: number): void;
}

/** A wall clock that is off by the option. */
export function createWall(time: TrueTime, options: VirtualClockOptions): Wall {
  let offsetMs = options.wallOffsetMs ?? 0;
  return {
    micros: () => EPOCH_MICROS + BigInt(Math.floor((time.trueMs() + offsetMs) * 1000)),
    jump(ms: number): void {
      offsetMs += ms;
    },
  };
}
