/** The real clocks, timers and randomness of this process: the one file of the locker that touches globals. */
import { randomFillSync } from "node:crypto";
import { openSync, readSync } from "node:fs";
import { uptime } from "node:os";
import { MAX_FENCE, nextProposal } from "../engine/token.js";
import { instant, type Instant, type System, type Timer, type TimerPurpose } from "../engine/time.js";
import { InvalidOptionError } from "../errors.js";

// Taken once, so that fake timers in a user's tests do not stop the clock of the locks that run meanwhile.
const { setTimeout: start, clearTimeout: cancel, performance, Date: WallClock } = globalThis;

/**
 * The monotonic clock stands still while the machine is suspended; the boot clock does not. Their distance is constant
 * otherwise, so a growth beyond the grain of the boot clock (10 ms on Linux) is a suspend.
 */
const SUSPEND_MS_MIN = 20;
/** Where no boot clock exists, wall time that runs ahead between two looks stands in for it. */
const WALL_JUMP_MS_MIN = 100;
/**
 * A look at the boot clock is good for so long, if the wall clock went as far meanwhile as the monotonic one: a suspend moves
 * the wall clock as well, unless somebody sets it back by as much within these milliseconds. Reading both costs a
 * tenth of reading the boot clock.
 */
const LOOK_MS = 10;
/** By how much the two may differ: the wall clock is read in whole milliseconds. */
const WALL_GRAIN_MS = 2;

const OWNER_BYTES = 16;
const OWNERS_BUFFERED = 256;

/** The system of this process. One for all lockers, so that proposals are strictly increasing per process. */
export const processSystem: System = createProcessSystem();

function createProcessSystem(): System {
  const suspendedMs = process.platform === "linux" ? bootClockSuspension() : wallClockSuspension();
  let suspended = 0;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let wallAtLook = 0;
  let lastProposal = 0n;
  const bytes = Buffer.alloc(OWNER_BYTES * OWNERS_BUFFERED);
  let used = bytes.length;

  return {
    now(): Instant {
      return instant(performance.now() + suspended);
    },
    look(): Instant {
      const at = performance.now();
      const sinceLook = at - lookedAt;
      const wallAhead = WallClock.now() - wallAtLook - sinceLook;
      if (sinceLook <= LOOK_MS && Math.abs(wallAhead) <= WALL_GRAIN_MS) return instant(at + suspended);
      lookedAt = performance.now();
      wallAtLook = WallClock.now();
      suspended = suspendedMs();
      return instant(performance.now() + suspended);
    },
    wallMs: () => WallClock.now(),
    propose(): bigint {
      const wallMicros = BigInt(WallClock.now()) * 1000n;
      const proposal = nextProposal(lastProposal, wallMicros);
      if (proposal === undefined) {
        throw new InvalidOptionError(
          "system clock",
          `a wall clock below ${MAX_FENCE} microseconds`,
          wallMicros,
        );
      }
      lastProposal = proposal;
      return proposal;
    },
    random: Math.random,
    newOwner(): string {
      if (used === bytes.length) {
        randomFillSync(bytes);
        used = 0;
      }
      const owner = bytes.toString("hex", used, used + OWNER_BYTES);
      used += OWNER_BYTES;
      return owner;
    },
    startTimer(purpose: TimerPurpose, delayMs: number, run: () => void): Timer {
      const timer = start(run, delayMs);
      return purpose === "watch" ? timer.unref() : timer;
    },
    cancelTimer(timer: Timer): void {
      cancel(timer as ReturnType<typeof start>);
    },
  };
}

/**
 * The boot clock in milliseconds. Linux shows it in a file, and reading that through a descriptor that stays open costs a
 * third of `os.uptime()`, which opens it anew each time: 1.6 against 5 microseconds, once in every acquire.
 */
function bootClock(): () => number {
  let file: number;
  try {
    file = openSync("/proc/uptime", "r");
  } catch {
    return () => uptime() * 1000;
  }
  const text = Buffer.alloc(64);
  return () => {
    try {
      return Number.parseFloat(text.toString("latin1", 0, readSync(file, text, 0, text.length, 0))) * 1000;
    } catch {
      // Somebody closed descriptors that were not theirs.
      return uptime() * 1000;
    }
  };
}

/** Total time spent suspended since the start of the process, read from the boot clock. Errs to the longer side. */
function bootClockSuspension(): () => number {
  const bootMs = bootClock();
  let least = Number.POSITIVE_INFINITY;
  let suspended = 0;
  return () => {
    const distance = bootMs() - performance.now();
    if (distance < least) least = distance;
    const ahead = distance - least;
    if (ahead > SUSPEND_MS_MIN && ahead > suspended) suspended = ahead;
    return suspended;
  };
}

function wallClockSuspension(): () => number {
  let last = WallClock.now() - performance.now();
  let suspended = 0;
  return () => {
    const distance = WallClock.now() - performance.now();
    if (distance - last > WALL_JUMP_MS_MIN) suspended += distance - last;
    last = distance;
    return suspended;
  };
}
