/** How much of the validity is kept for ending a command. */
import { requestDeadlineMs } from "../engine/schedule.js";
import { renewalDelayMs } from "../engine/renewal.js";
import { CommandLineError } from "./command-line-error.js";
import { formatMs } from "./duration.js";
import { EXIT } from "./exit-codes.js";
import type { EndingTimes } from "./orders.js";

/** With less, an extension, a grace and the margin do not fit into one validity. */
export const RUN_TTL_MS_MIN = 1000;

// SIGKILL has to be sent, arrive, and be seen to have worked, on a machine that may be busy.
const MARGIN_SHARE = 1 / 10;
const MARGIN_MS_MIN = 100;
const MARGIN_MS_MAX = 1000;
const DEFAULT_GRACE_SHARE = 1 / 5;
const DEFAULT_GRACE_MS_MAX = 10_000;

/** What is known of the lock. */
export interface LockTimes {
  readonly ttlMs: number;
  readonly validityMs: number;
}

/**
 * The times for a lock; `graceMs` undefined takes the default, a fifth of the validity and at most 10 s. Throws a
 * {@link CommandLineError} when the grace leaves no room for the first extension: it is sent after a third of the
 * validity, may take a request's deadline, and its failure must not be what ends a healthy command.
 */
export function endingTimes(lock: LockTimes, graceMs: number | undefined): EndingTimes {
  const { ttlMs, validityMs } = lock;
  const marginMs = Math.min(MARGIN_MS_MAX, Math.max(MARGIN_MS_MIN, validityMs * MARGIN_SHARE));
  const extendAfterMs = renewalDelayMs({ remainingMs: validityMs, validityMs, failures: 0 }, 0);
  const extensionMs = requestDeadlineMs(ttlMs);
  const graceMsMax = Math.floor(validityMs - extendAfterMs - extensionMs - marginMs);
  if (graceMs === undefined) {
    return {
      marginMs,
      graceMs: Math.floor(Math.min(validityMs * DEFAULT_GRACE_SHARE, DEFAULT_GRACE_MS_MAX, graceMsMax)),
    };
  }
  if (graceMs <= graceMsMax) return { marginMs, graceMs };
  throw new CommandLineError(
    EXIT.usage,
    `option --kill-grace must be at most ${formatMs(graceMsMax)} with --ttl ${formatMs(ttlMs)}; got ` +
      `${formatMs(graceMs)}. Of ${formatMs(validityMs)} of validity ${formatMs(extendAfterMs)} pass before the lock is ` +
      `extended, extending may take ${formatMs(extensionMs)}, and the kill itself needs ${formatMs(marginMs)}: ` +
      `use a longer --ttl or a shorter grace`,
  );
}
