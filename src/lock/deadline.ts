/** How long a question waits for its answers. */
import { elapsedMs, type Instant, type System, type Timer } from "../engine/time.js";

/** Timers run before what has arrived is read; one more turn of the event loop reads it. */
export const READ_MS = 1;
/** A timer that is late by more than that shows that the process was stalled, so that answers may lie unread. */
const STALL_MS_MIN = 5;

/** A running deadline: calls `onOver` when it has passed; after a stall when answers were read. */
export class Deadline {
  readonly #system: System;
  /** Now or a moment ago. */
  readonly #since: Instant;
  readonly #deadlineMs: number;
  readonly #onOver: () => void;
  #timer: Timer;

  constructor(
    system: System,
    { since, deadlineMs }: { readonly since: Instant; readonly deadlineMs: number },
    onOver: () => void,
  ) {
    this.#system = system;
    this.#since = since;
    this.#deadlineMs = deadlineMs;
    this.#onOver = onOver;
    this.#timer = system.startTimer("work", deadlineMs, () => this.#pass());
  }

  /** Harmless when it is over. */
  cancel(): void {
    this.#system.cancelTimer(this.#timer);
  }

  #pass(): void {
    const wasStalled = elapsedMs(this.#since, this.#system.now()) > this.#deadlineMs + STALL_MS_MIN;
    if (wasStalled) this.#timer = this.#system.startTimer("work", READ_MS, this.#onOver);
    else this.#onOver();
  }
}
