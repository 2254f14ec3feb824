/**
 * What happened in one phase, as the checkers read it. Clients write one line of JSON for each thing, with milliseconds of
 * CLOCK_MONOTONIC, which is one clock for all processes of a machine.
 */
import { readFileSync } from "node:fs";

/** One line of a client's file. */
export type Line =
  | { readonly kind: "attempt"; readonly atMs: number; readonly lease: string; readonly key: string }
  | {
      readonly kind: "acquired";
      readonly atMs: number;
      readonly lease: string;
      readonly token: string;
      readonly validUntilMs: number;
    }
  | { readonly kind: "refused"; readonly atMs: number; readonly lease: string; readonly code: string }
  | {
      readonly kind: "extended";
      readonly atMs: number;
      readonly lease: string;
      readonly validUntilMs: number;
    }
  | { readonly kind: "releasing"; readonly atMs: number; readonly lease: string }
  /** The loss signal aborted. */
  | { readonly kind: "signal"; readonly atMs: number; readonly lease: string; readonly reason: string }
  | {
      readonly kind: "write";
      readonly atMs: number;
      readonly answeredMs: number;
      readonly lease: string;
      readonly resource: string;
      /** "failed": whether it was done is unknown. */
      readonly outcome: "accepted" | "stale" | "failed";
      readonly why?: string;
    }
  /** The process did not turn its event loop. */
  | { readonly kind: "stall"; readonly fromMs: number; readonly atMs: number };

/** One lease from its attempt to its end. */
export interface LeaseRecord {
  readonly lease: string;
  readonly client: string;
  readonly key: string;
  readonly token: bigint;
  readonly attemptMs: number;
  readonly acquiredMs: number;
  /** The last end of validity that was recorded. */
  readonly validUntilMs: number;
  /** Until when the holder could believe to hold it: released, told that it was lost, dead, or the end of validity. */
  readonly heldUntilMs: number;
  readonly extensions: readonly { readonly atMs: number; readonly validUntilMs: number }[];
  readonly signal: { readonly atMs: number; readonly reason: string } | undefined;
  readonly releasingMs: number | undefined;
}

/** A write as a client saw it. */
export interface WriteRecord {
  readonly lease: string;
  readonly client: string;
  readonly key: string;
  readonly token: bigint;
  readonly resource: string;
  readonly atMs: number;
  readonly answeredMs: number;
  readonly outcome: "accepted" | "stale" | "failed";
  readonly why: string | undefined;
}

/** What one resource took, for one key, in its own order. */
export interface ResourceLog {
  readonly resource: string;
  readonly key: string;
  readonly tokens: readonly bigint[];
}

/** Which promises must hold in a phase. */
export interface Judged {
  /** Otherwise violations of it are only counted. */
  readonly exclusion: boolean;
}

/** One phase. */
export interface History {
  readonly judged: Judged;
  readonly leases: readonly LeaseRecord[];
  readonly writes: readonly WriteRecord[];
  readonly logs: readonly ResourceLog[];
  /** When processes did not run, by client. */
  readonly stalls: ReadonlyMap<string, readonly { readonly fromMs: number; readonly toMs: number }[]>;
  /** When processes were killed or ended, by client. */
  readonly ends: ReadonlyMap<string, number>;
  /** Attempts that ended without a lease, by code. */
  readonly refusals: ReadonlyMap<string, number>;
}

/** What a checker found, in one sentence. */
export interface Violation {
  readonly checker: string;
  readonly what: string;
}

/** A client's part in a phase. */
export interface ClientFile {
  readonly client: string;
  readonly path: string;
  /** When it was killed or had ended. */
  readonly endedMs: number;
}

/** Puts the files of the clients together. A last line that a kill cut off is left out. */
export function readHistory(files: readonly ClientFile[], rest: Pick<History, "judged" | "logs">): History {
  const leases: LeaseRecord[] = [];
  const writes: WriteRecord[] = [];
  const stalls = new Map<string, { fromMs: number; toMs: number }[]>();
  const refusals = new Map<string, number>();
  for (const file of files) {
    const lines = linesOf(file.path);
    const told = leasesOf(lines, file);
    const byName = new Map(told.map((each) => [each.lease, each]));
    leases.push(...told);
    stalls.set(
      file.client,
      lines.flatMap((line) => (line.kind === "stall" ? [{ fromMs: line.fromMs, toMs: line.atMs }] : [])),
    );
    for (const line of lines) {
      if (line.kind === "refused") refusals.set(line.code, (refusals.get(line.code) ?? 0) + 1);
      const lease = line.kind === "write" ? byName.get(line.lease) : undefined;
      if (line.kind !== "write" || lease === undefined) continue;
      const { atMs, answeredMs, resource, outcome, why } = line;
      const { key, token } = lease;
      writes.push({
        lease: line.lease,
        client: file.client,
        key,
        token,
        resource,
        atMs,
        answeredMs,
        outcome,
        why,
      });
    }
  }
  leases.sort((a, b) => a.acquiredMs - b.acquiredMs);
  const ends = new Map(files.map(({ client, endedMs }) => [client, endedMs]));
  return { ...rest, leases, writes, stalls, ends, refusals };
}

function linesOf(path: string): readonly Line[] {
  const text = readFileSync(path, "utf8");
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  return whole
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
}

interface Making {
  key: string;
  attemptMs: number;
  acquired?: Extract<Line, { kind: "acquired" }>;
  extensions: { atMs: number; validUntilMs: number }[];
  signal?: { atMs: number; reason: string };
  releasingMs?: number;
}

function leasesOf(lines: readonly Line[], { client, endedMs }: ClientFile): LeaseRecord[] {
  const making = new Map<string, Making>();
  for (const line of lines) {
    if (line.kind === "attempt") {
      making.set(line.lease, { key: line.key, attemptMs: line.atMs, extensions: [] });
      continue;
    }
    const lease = line.kind === "stall" ? undefined : making.get(line.lease);
    if (lease === undefined) continue;
    if (line.kind === "acquired") lease.acquired = line;
    else if (line.kind === "extended") lease.extensions.push(line);
    else if (line.kind === "signal") lease.signal = line;
    else if (line.kind === "releasing") lease.releasingMs = line.atMs;
  }
  return [...making].flatMap(([lease, { key, attemptMs, acquired, extensions, signal, releasingMs }]) => {
    if (acquired === undefined) return [];
    const validUntilMs = Math.max(acquired.validUntilMs, ...extensions.map((each) => each.validUntilMs));
    const heldUntilMs = Math.min(
      validUntilMs,
      endedMs,
      releasingMs ?? Number.POSITIVE_INFINITY,
      signal?.atMs ?? Number.POSITIVE_INFINITY,
    );
    const record: LeaseRecord = {
      lease,
      client,
      key,
      token: BigInt(acquired.token),
      attemptMs,
      acquiredMs: acquired.atMs,
      validUntilMs,
      heldUntilMs,
      extensions,
      signal,
      releasingMs,
    };
    return [record];
  });
}

/** The leases of each key, in the order in which they were acquired. */
export function byKey(leases: readonly LeaseRecord[]): ReadonlyMap<string, readonly LeaseRecord[]> {
  const keys = new Map<string, LeaseRecord[]>();
  for (const lease of leases) {
    const list = keys.get(lease.key);
    if (list === undefined) keys.set(lease.key, [lease]);
    else list.push(lease);
  }
  return keys;
}
