/** Writes the history of a world while it runs. */
import type { HeldLease } from "../../src/lock/lease.js";
import { ownerHash, type LeaseEvent, type LockerEvents } from "../../src/lock/events.js";
import type { ForcedRecord, LeaseRecord, LossRecord, OverstatedRecord, WriteRecord } from "./history.js";
import type { Kernel } from "./kernel.js";
import type { SimProcess } from "./process.js";

/** Everything that a recorder has. */
export interface Records {
  readonly leases: readonly LeaseRecord[];
  readonly writes: readonly WriteRecord[];
  readonly losses: readonly LossRecord[];
  readonly silentLosses: readonly LeaseRecord[];
  readonly overstated: readonly OverstatedRecord[];
  readonly forced: readonly ForcedRecord[];
}

/** Of one world. */
export interface Recorder {
  /** A request leaves a client. */
  sent(process: SimProcess, operation: string, args: readonly unknown[]): void;
  /** Returns the owner of the attempt that won it. */
  acquired(process: SimProcess, event: LockerEvents["acquired"]): string | undefined;
  adopted(process: SimProcess, event: LockerEvents["adopted"]): void;
  /** The caller got the lease of which one of these two told. */
  given(process: SimProcess, lease: HeldLease): LeaseRecord | undefined;
  extended(process: SimProcess, event: LockerEvents["extended"]): void;
  lost(process: SimProcess, event: LockerEvents["lost"]): void;
  /** Its holder gives it back, or is dead. */
  over(lease: LeaseRecord, atMs: number): void;
  crashed(process: SimProcess): void;
  wrote(lease: LeaseRecord, accepted: boolean): void;
  /** What a lease says is left of it. */
  said(process: SimProcess, lease: LeaseRecord, remainingMs: number): void;
  noteForced(record: ForcedRecord): void;
  /** After a while without a disturbance every lease whose validity ended must have been lost. */
  noteSilentLosses(): void;
  records(): Records;
  /** How many leases were won in one round trip. */
  fast(): number;
}

interface Entry {
  readonly record: LeaseRecord;
  readonly process: SimProcess;
  readonly owner: string;
  lease: HeldLease | undefined;
  lossNoted: boolean;
}

/** A process that was disturbed may give its signals late for so long afterwards. */
const CALM_MS = 450;
const SETTLED_MS = 500;
const ROUNDING_MS = 1e-6;

export function createRecorder(kernel: Kernel): Recorder {
  const entries: Entry[] = [];
  /** By process and hash of the owner: a lease that was adopted has the owner of the one before. */
  const byHash = new Map<string, Entry>();
  const raised = new Set<string>();
  /** The first request of the last extension of an owner. A pause may lie between that and the second, but no event. */
  const extending = new Map<string, { readonly atMs: number; readonly event: number }>();
  const writes: WriteRecord[] = [];
  const losses: LossRecord[] = [];
  const silentLosses: LeaseRecord[] = [];
  const overstated: OverstatedRecord[] = [];
  const forced: ForcedRecord[] = [];
  /** Of owners; hashing costs more than all else that is done here. */
  const hashes = new Map<string, string>();
  let fast = 0;

  function hashOf(owner: string): string {
    const known = hashes.get(owner);
    if (known !== undefined) return known;
    const hash = ownerHash(owner);
    hashes.set(owner, hash);
    return hash;
  }

  function tell(process: SimProcess, kind: "lease" | "write", text: string): void {
    kernel.trace?.({ atMs: process.atMs(), lane: process.name, kind, text });
  }

  function isCalm(process: SimProcess): boolean {
    const until = process.disturbedUntilMs();
    return until === 0 || process.atMs() - until > CALM_MS;
  }

  function enter(
    process: SimProcess,
    event: LeaseEvent,
    from: { readonly owner: string; readonly atMs: number; readonly adopted: boolean },
  ): void {
    const record: LeaseRecord = {
      id: entries.length + 1,
      client: process.name,
      key: event.key,
      owner: from.owner,
      token: event.token,
      wonAtMs: process.atMs(),
      attemptAtMs: from.atMs,
      adopted: from.adopted,
      ends: [],
      lookAt: process.lookAt,
      overAtMs: Number.POSITIVE_INFINITY,
    };
    const entry: Entry = { record, process, owner: from.owner, lease: undefined, lossNoted: false };
    entries.push(entry);
    byHash.set(`${process.name} ${event.ownerHash}`, entry);
  }

  return {
    sent(process: SimProcess, operation: string, args: readonly unknown[]): void {
      if (operation !== "raise" && operation !== "extend") return;
      const { owner } = args[0] as { readonly owner: string };
      if (operation === "raise") raised.add(owner);
      else if (extending.get(owner)?.event !== kernel.events) {
        extending.set(owner, { atMs: process.atMs(), event: kernel.events });
      }
    },

    acquired(process: SimProcess, event: LockerEvents["acquired"]): string | undefined {
      const attempt = process.attempt((owner) => hashOf(owner) === event.ownerHash);
      if (attempt === undefined) return undefined;
      enter(process, event, { adopted: false, ...attempt });
      if (!raised.has(attempt.owner)) fast++;
      tell(process, "lease", `holds ${event.key} with token ${event.token}`);
      return attempt.owner;
    },

    adopted(process: SimProcess, event: LockerEvents["adopted"]): void {
      const before = entries.findLast(({ owner }) => hashOf(owner) === event.ownerHash);
      if (before === undefined) return;
      const { owner, record } = before;
      enter(process, event, { owner, atMs: record.attemptAtMs, adopted: true });
      tell(process, "lease", `adopts ${event.key} with token ${event.token}`);
    },

    given(process: SimProcess, lease: HeldLease): LeaseRecord | undefined {
      const entry = entries.findLast(
        (each) =>
          each.lease === undefined &&
          each.process === process &&
          each.record.key === lease.key &&
          each.record.token === lease.token,
      );
      if (entry === undefined) return undefined;
      entry.lease = lease;
      entry.record.ends.push({ setAtMs: entry.record.wonAtMs, validUntil: lease.validUntil });
      return entry.record;
    },

    extended(process: SimProcess, event: LockerEvents["extended"]): void {
      const entry = byHash.get(`${process.name} ${event.ownerHash}`);
      if (entry?.lease === undefined) return;
      const { record, lease, owner } = entry;
      const atMs = process.atMs();
      const before = record.ends.at(-1)?.validUntil;
      const behindOldEnd =
        before !== undefined &&
        record.lookAt(atMs) >= before &&
        record.lookAt(process.disturbedUntilMs()) < before;
      record.ends.push({
        setAtMs: atMs,
        validUntil: lease.validUntil,
        sentAtMs: extending.get(owner)?.atMs,
        behindOldEnd,
      });
      tell(process, "lease", `extended ${record.key} with token ${record.token}`);
    },

    lost(process: SimProcess, event: LockerEvents["lost"]): void {
      const entry = byHash.get(`${process.name} ${event.ownerHash}`);
      if (entry === undefined) return;
      const { record } = entry;
      const atMs = process.atMs();
      const end = record.ends.at(-1)?.validUntil;
      if (event.reason === "expired" && end !== undefined && record.overAtMs > atMs && isCalm(process)) {
        losses.push({ atMs, lease: record, remainingMs: end - record.lookAt(atMs) });
      }
      entry.lossNoted = true;
      record.overAtMs = Math.min(record.overAtMs, atMs);
      tell(process, "lease", `lost ${record.key} with token ${record.token}: ${event.reason}`);
    },

    over(lease: LeaseRecord, atMs: number): void {
      lease.overAtMs = Math.min(lease.overAtMs, atMs);
    },

    crashed(process: SimProcess): void {
      for (const { record, process: holder } of entries) {
        if (holder === process) record.overAtMs = Math.min(record.overAtMs, kernel.nowMs);
      }
    },

    wrote(lease: LeaseRecord, accepted: boolean): void {
      writes.push({ atMs: kernel.nowMs, lease, accepted });
      kernel.trace?.({
        atMs: kernel.nowMs,
        lane: lease.client,
        kind: "write",
        text: `write to ${lease.key} with token ${lease.token} is ${accepted ? "accepted" : "refused"}`,
      });
    },

    said(process: SimProcess, lease: LeaseRecord, remainingMs: number): void {
      const end = lease.ends.at(-1)?.validUntil;
      const atMs = process.atMs();
      // A pause right behind the look makes any answer old; that is what guards are for.
      if (end === undefined || remainingMs <= 0 || process.disturbedUntilMs() >= atMs) return;
      if (lease.lookAt(atMs) > end + ROUNDING_MS) overstated.push({ atMs, lease, remainingMs });
    },

    noteForced(record: ForcedRecord): void {
      forced.push(record);
    },

    noteSilentLosses(): void {
      for (const { record, process, lossNoted } of entries) {
        const end = record.ends.at(-1)?.validUntil;
        if (lossNoted || process.hasCrashed() || end === undefined || record.overAtMs < kernel.nowMs)
          continue;
        if (process.disturbedUntilMs() !== 0 && kernel.nowMs - process.disturbedUntilMs() < SETTLED_MS)
          continue;
        if (record.lookAt(kernel.nowMs) > end + 1) silentLosses.push(record);
      }
    },

    records: () => ({
      leases: entries.map(({ record }) => record),
      writes,
      losses,
      silentLosses,
      overstated,
      forced,
    }),
    fast: () => fast,
  };
}
