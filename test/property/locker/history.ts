/** What happened in one simulated world, by true time. The checkers read nothing else. */

/** The assumptions of the protocol under which a world runs; they decide which promises must hold in it. */
export interface Assumptions {
  /** No backend lost its memory: tokens are ordered whatever the clocks do. */
  readonly memoryKept: boolean;
  /** Wall clocks agree within clockSkewMs. */
  readonly wallClocksAgree: boolean;
  /** Locks end by clocks within the drift, and not at arbitrary moments. */
  readonly expiryByClock: boolean;
}

/** A lease as it was acquired. */
export interface AcquiredRecord {
  readonly kind: "acquired";
  readonly atMs: number;
  readonly lease: number;
  readonly key: string;
  readonly token: bigint;
  /** When the attempt that won it began. */
  readonly attemptAtMs: number;
  readonly client: string;
}

/** A lease got a later end. */
export interface ExtendedRecord {
  readonly kind: "extended";
  readonly atMs: number;
  readonly key: string;
  readonly token: bigint;
  readonly client: string;
}

/** All leases of a key that some running process believes to be valid at this moment. */
export interface BeliefRecord {
  readonly kind: "belief";
  readonly atMs: number;
  readonly key: string;
  readonly valid: readonly {
    readonly lease: number;
    readonly token: bigint;
    readonly client: string;
    readonly remainingMs: number;
  }[];
}

/** A write that reached the resource, and whether the guard let it pass. */
export interface WriteRecord {
  readonly kind: "write";
  readonly atMs: number;
  readonly key: string;
  readonly token: bigint;
  readonly accepted: boolean;
}

/** The signal of a lease aborted because it expired, in a process that had not been stalled or suspended. */
export interface LossRecord {
  readonly kind: "loss";
  readonly atMs: number;
  readonly lease: number;
  /** How much validity was left at that moment, by the clock of the holder; negative when it was too late. */
  readonly remainingMs: number;
}

/** A lease whose validity ended long ago, in a process that had not been stalled or suspended, and no signal came. */
export interface SilentLossRecord {
  readonly kind: "silent-loss";
  readonly atMs: number;
  readonly lease: number;
}

/** At the end all faults but those of a minority were over, nobody held, and somebody tried. */
export interface LastAcquireRecord {
  readonly kind: "last-acquire";
  readonly atMs: number;
  readonly key: string;
  readonly waitedMs: number;
  readonly boundMs: number;
  /** Undefined when it got the lock. */
  readonly error: string | undefined;
}

/** One thing that happened. */
export type HistoryRecord =
  | AcquiredRecord
  | ExtendedRecord
  | BeliefRecord
  | WriteRecord
  | LossRecord
  | SilentLossRecord
  | LastAcquireRecord;

/** One world's history. */
export interface History {
  readonly seed: number;
  readonly assumptions: Assumptions;
  readonly records: readonly HistoryRecord[];
}

/** What a checker found, in one sentence. */
export interface Violation {
  readonly checker: string;
  readonly what: string;
}

/** The records of one kind. */
export function ofKind<Kind extends HistoryRecord["kind"]>(
  history: History,
  kind: Kind,
): readonly Extract<HistoryRecord, { kind: Kind }>[] {
  return history.records.filter(
    (record): record is Extract<HistoryRecord, { kind: Kind }> => record.kind === kind,
  );
}
