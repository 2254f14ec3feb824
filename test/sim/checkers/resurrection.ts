/**
 * A lease that is over stays over: it is not extended behind its end, not behind a newer lease, and not after an
 * operator deleted its lock on every backend, unless its own acquire was executed once more behind that.
 */
import {
  isHeldAt,
  leaseText,
  type EndRecord,
  type History,
  type LeaseRecord,
  type Violation,
} from "../history.js";

export function checkResurrection(history: History): readonly Violation[] {
  return history.leases.flatMap((lease) =>
    lease.ends.slice(1).flatMap((end) => {
      const why =
        (end.behindOldEnd === true ? "after its validity had ended" : undefined) ??
        behindANewerOne(history, lease, end) ??
        behindAForce(history, lease, end);
      if (why === undefined) return [];
      const what = `${lease.key}: ${leaseText(lease)} was extended at ${end.setAtMs.toFixed(3)} ms, ${why}`;
      return [{ checker: "resurrection", promise: "no resurrection" as const, what }];
    }),
  );
}

function behindANewerOne(history: History, lease: LeaseRecord, end: EndRecord): string | undefined {
  // A round that backends confirmed just before an operator took the lock away may end when somebody else has it already.
  if (!history.assumptions.expiryByClock || !isHeldAt(history, lease, end.setAtMs)) return undefined;
  const newer = history.leases.find(
    (other) => other.key === lease.key && other.wonAtMs < end.setAtMs && other.attemptAtMs > lease.wonAtMs,
  );
  return newer === undefined ? undefined : `after ${leaseText(newer)}`;
}

function behindAForce(history: History, lease: LeaseRecord, end: EndRecord): string | undefined {
  if (!history.assumptions.memoryKept) return undefined;
  const grantedAtMs = history.grants.get(lease.owner) ?? 0;
  const forced = history.forced.find(
    ({ key, atMs, doneAtMs }) =>
      key === lease.key &&
      Math.max(lease.wonAtMs, grantedAtMs) < atMs &&
      doneAtMs !== undefined &&
      doneAtMs < (end.sentAtMs ?? 0),
  );
  return forced === undefined
    ? undefined
    : `after its lock had been deleted everywhere at ${forced.doneAtMs} ms`;
}
