/** What quorum-lock tells its watcher: one line of JSON each, and each replaces the one before. */
import type { ProcessGroup } from "./process-group.js";
import { before, type SharedInstant } from "./shared-clock.js";

/** What has to be gone by when. */
export interface Orders {
  readonly group: ProcessGroup;
  /** When the command has to be asked to end, unless a later order comes. */
  readonly terminateAt: SharedInstant;
  /** When it has to be killed. */
  readonly killAt: SharedInstant;
  /** How long the command may take to end after it was asked, in milliseconds. */
  readonly graceMs: number;
  /** Quorum-lock has asked the command to end; it must not be asked twice. */
  readonly terminated: boolean;
  /** What to say when quorum-lock itself is gone. */
  readonly note: string;
}

/** How an ending is timed. */
export interface EndingTimes {
  /** From SIGTERM to SIGKILL, in milliseconds. */
  readonly graceMs: number;
  /** From SIGKILL to the end of validity, in milliseconds. */
  readonly marginMs: number;
}

/** When to ask and when to kill, so that all is gone before validity ends. */
export function endingInstants(
  validUntil: SharedInstant,
  times: EndingTimes,
): Pick<Orders, "terminateAt" | "killAt"> {
  const killAt = before(validUntil, times.marginMs);
  return { terminateAt: before(killAt, times.graceMs), killAt };
}

/** What the watcher reads: orders, or that there is nothing left to watch. */
export type WatcherMessage = Orders | "dismissed";

/** One line. */
export function encode(message: WatcherMessage): string {
  return `${JSON.stringify(message)}\n`;
}

/** The message of one line that {@link encode} made. */
export function decode(line: string): WatcherMessage {
  return JSON.parse(line) as WatcherMessage;
}
