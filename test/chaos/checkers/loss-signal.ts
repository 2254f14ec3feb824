/**
 * The loss signal comes between 50 ms before the end of validity and the end; later only by as long as the process did
 * not run, which it notes itself. And it comes at all.
 */
import type { History, LeaseRecord, Violation } from "../history.js";

const EARLY_MS_MAX = 50;
/** Timers and records of a process on a busy machine, shorter than what is noted as a stall. */
const LATE_MS_MAX = 40;
const ROUNDING_MS = 2;
/** A signal that has not come for so long does not come. */
const NEVER_MS = 1_500;

export function checkLossSignal(history: History): readonly Violation[] {
  return history.leases.flatMap((lease) => {
    const { signal, validUntilMs } = lease;
    if (signal === undefined) return never(history, lease);
    if (signal.reason !== "expired") return [];
    const lateMs = signal.atMs - validUntilMs;
    const say = (how: string): readonly Violation[] => [
      {
        checker: "loss signal",
        what: `the signal of lease ${lease.lease} came ${Math.abs(lateMs).toFixed(3)} ms ${how} the end of its validity`,
      },
    ];
    if (lateMs < -EARLY_MS_MAX - ROUNDING_MS) return say("before");
    const allowedMs =
      LATE_MS_MAX +
      stalledMs(history, lease.client, { fromMs: validUntilMs - EARLY_MS_MAX, toMs: signal.atMs });
    return lateMs > allowedMs ? say("after") : [];
  });
}

function never(history: History, lease: LeaseRecord): readonly Violation[] {
  const { client, releasingMs, validUntilMs } = lease;
  if (releasingMs !== undefined) return [];
  const endedMs = history.ends.get(client) ?? 0;
  const quietMs =
    endedMs - validUntilMs - stalledMs(history, client, { fromMs: validUntilMs, toMs: endedMs });
  if (quietMs < NEVER_MS) return [];
  return [
    { checker: "loss signal", what: `no signal of lease ${lease.lease} came in ${quietMs.toFixed(0)} ms` },
  ];
}

/** How long of the time between the two instants the client did not run. */
function stalledMs(
  history: History,
  client: string,
  between: { readonly fromMs: number; readonly toMs: number },
): number {
  let sumMs = 0;
  for (const stall of history.stalls.get(client) ?? []) {
    sumMs += Math.max(0, Math.min(stall.toMs, between.toMs) - Math.max(stall.fromMs, between.fromMs));
  }
  return sumMs;
}
