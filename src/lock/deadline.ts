/** How long a question waits for its answers. */
import { elapsedMs, type Instant, type System } from "../engine/time.js";

/** Timers run before what has arrived is read; one more turn of the event loop reads it. */
export const READ_MS = 1;
/** A timer that is late by more than that shows that the process was stalled, so that answers may lie unread. */
const STALL_MS_MIN = 5;

/** A running deadline. */
export interface Deadline {
  /** Harmless when it is over. */
  cancel(): void;
}

/** Calls `onOver` when `deadlineMs` have passed since `since`, which is now or a moment ago; after a stall when answers were read. */
export function startDeadline(
  system: System,
  { since, deadlineMs }: { readonly since: Instant; readonly deadlineMs: number },
  onOver: () => void,
): Deadline {
  let timer = system.startTimer("work", deadlineMs, () => {
    const wasStalled = elapsedMs(since, system.now()) > deadlineMs + STALL_MS_MIN;
    if (wasStalled) timer = system.startTimer("work", READ_MS, onOver);
    else onOver();
  });
  return { cancel: () => system.cancelTimer(timer) };
}
