/**
 * Whether a backend is silent: it owes answers and gives none. Judged by timers and not at the send, since a process
 * that was stalled has not read the answers that are there; a timer that is followed by another one has.
 */
import { elapsedMs, type System, type Timer } from "../engine/time.js";
import { READ_MS } from "./deadline.js";

/** So many requests may be unanswered by a backend that has been silent for longer than a deadline. */
const SILENT_MAX = 32;
/** So many, by one that has been silent for {@link LOOK_EVERY_MS}: a busy locker would send thousands in a deadline. */
const HUSHED_MAX = 512;
/** So many may be unanswered at any time. */
const IN_FLIGHT_MAX = 16_384;
const LOOK_EVERY_MS = 100;

/** What is known of one backend. */
export interface Silence {
  sent(): void;
  answered(): void;
  /** Whether one more request must not be sent. */
  refuses(inFlight: number): boolean;
  stop(): void;
}

/** A backend that owes nothing. `silenceMs`: how long it may be silent with some requests unanswered. */
export function createSilence(system: System, silenceMs: number): Silence {
  let answers = 0;
  /** Something was sent after the last answer. */
  let owing = false;
  /** For how long answers have been owed, as far as the timers saw. */
  let quietMs = 0;
  let probedAt = system.now();
  let looking: Timer | undefined;
  let stopped = false;

  function look(): void {
    if (looking !== undefined || stopped) return;
    const before = answers;
    const wasOwing = owing;
    looking = system.startTimer("watch", LOOK_EVERY_MS, () => {
      looking = system.startTimer("watch", READ_MS, () => {
        looking = undefined;
        quietMs = wasOwing && answers === before ? quietMs + LOOK_EVERY_MS : 0;
        // Beyond it nothing more is to be learnt before the next answer.
        if (owing && quietMs > 0 && quietMs <= silenceMs) look();
      });
    });
  }

  return {
    sent(): void {
      owing = true;
    },
    answered(): void {
      answers++;
      owing = false;
      quietMs = 0;
    },
    refuses(inFlight: number): boolean {
      if (inFlight < SILENT_MAX) return false;
      if (inFlight >= IN_FLIGHT_MAX) return true;
      // Looked at here, since a call makes what its timers need even where it does nothing.
      if (looking === undefined && quietMs <= silenceMs) look();
      if (quietMs < (inFlight >= HUSHED_MAX ? LOOK_EVERY_MS : silenceMs)) return false;
      // One in every deadline is let through: it may have come back without settling what was lost.
      const now = system.now();
      if (elapsedMs(probedAt, now) <= silenceMs) return true;
      probedAt = now;
      return false;
    },
    stop(): void {
      stopped = true;
      if (looking !== undefined) system.cancelTimer(looking);
    },
  };
}
