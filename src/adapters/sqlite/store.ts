/** The steps of a lock as transactions on a table, each decided by `engine/record.ts`. */
import type {
  AcquireRequest,
  Deployment,
  Examination,
  ExtendRequest,
  KeyRecord,
  ListPage,
  ListRequest,
  RaiseRequest,
  ReleaseReply,
} from "../../backend.js";
import {
  acquireKey,
  extendKey,
  forceReleaseKey,
  isForgotten,
  keptNow,
  liftKey,
  raiseKey,
  releaseKey,
  type ClockReading,
  type KeptKey,
  type KeptLock,
  type RecordContext,
  type Step,
} from "../../engine/record.js";
import { clampProposal, skewMicros } from "../../engine/token.js";
import { BackendError } from "../../errors.js";
import type {
  AcquireOutcome,
  ExtendOutcome,
  InQuarantine,
  KnownMark,
  MarkedStore,
  OtherMark,
  RaiseOutcome,
  Sight,
} from "../shared/marked-session.js";
import { counterBroken, noRecord } from "../shared/refusals.js";
import { createSweeper } from "../shared/sweeper.js";
import type { Row, SqliteFile } from "./client.js";
import { examination } from "./examination.js";
import { lockFile, type Synchronous, type Table } from "./file.js";
import type { Host } from "./host.js";

/** What a store needs. */
export interface SqliteStoreOptions {
  readonly name: string;
  readonly deployment: Deployment;
  readonly file: SqliteFile;
  readonly host: Host;
  readonly synchronous: Synchronous;
  /** Quoted. */
  readonly table: string;
}

/** The mark is the row of the empty key, which no lock can have, so that whatever empties the table takes it along. */
const MARK_KEY = Buffer.alloc(0);

const OTHER_MARK: OtherMark = { kind: "other-mark" };

/**
 * What makes the table. A lock carries both ends: by the monotonic clock of the boot in which it was written, and by the wall
 * clock, for whoever does not share that boot.
 */
export function createTable(table: string): string {
  return (
    `CREATE TABLE IF NOT EXISTS ${table} (key BLOB NOT NULL PRIMARY KEY, owner TEXT, fence INTEGER, counter INTEGER NOT NULL, ` +
    "boot TEXT, expires_monotonic_ms REAL, expires_wall_ms REAL, written_wall_ms REAL, forget_wall_ms REAL) WITHOUT ROWID"
  );
}

/** The clocks of one step. */
interface Moment {
  readonly now: ClockReading;
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** The store in a file. */
export function sqliteStore(options: SqliteStoreOptions): MarkedStore {
  const { name, deployment, table, host } = options;
  const { tokenRetentionMs: retentionMs } = deployment;
  const skew = skewMicros(deployment.clockSkewMs);
  const file = lockFile({ ...options, schema: createTable(table) });
  const sweeper = createSweeper({ retentionMs, sweep });

  const COLUMNS =
    "hex(key) AS key, owner, fence, counter, boot, expires_monotonic_ms, expires_wall_ms, written_wall_ms, forget_wall_ms";
  const FIND = `SELECT ${COLUMNS} FROM ${table} WHERE key IN (?, ?)`;
  const PAGE = `SELECT ${COLUMNS} FROM ${table} WHERE key >= ? AND key > ? ORDER BY key LIMIT ?`;
  const PUT = `INSERT OR REPLACE INTO ${table} (key, owner, fence, counter, boot, expires_monotonic_ms, expires_wall_ms,
  written_wall_ms, forget_wall_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;
  const PUT_MARK = `INSERT OR REPLACE INTO ${table} (key, owner, counter) VALUES (?, ?, 0)`;
  const DELETE = `DELETE FROM ${table} WHERE key = ? AND counter = ?`;

  function moment(): Moment {
    const monotonicMs = host.monotonicMs();
    return {
      now: { atLeastMs: monotonicMs, atMostMs: monotonicMs },
      monotonicMs,
      wallMs: host.wallMs(),
    };
  }

  /** The mark and the record of a key. */
  function find(on: Table, key: string, at: Moment): { mark: string | undefined; kept: KeptKey | undefined } {
    const found = on.prepare(FIND).all(MARK_KEY, bytesOf(key)) as Row[];
    const mark = found.find((row) => row["key"] === "");
    const record = found.find((row) => row["key"] !== "");
    return {
      mark: mark === undefined ? undefined : String(mark["owner"]),
      kept: record === undefined ? undefined : keptOf(record, at),
    };
  }

  function keptOf(row: Row, at: Moment): KeptKey {
    const { counter, forget_wall_ms: forgetWallMs } = row;
    if (!isCount(counter)) throw noRecord(name, textOf(String(row["key"])));
    const forgetAt = at.monotonicMs + (Number(forgetWallMs) - at.wallMs);
    return { lock: lockOf(row, at), counter: BigInt(counter), forgetAt };
  }

  function lockOf(row: Row, at: Moment): KeptLock | undefined {
    const { owner, fence, boot } = row;
    if (owner === null || owner === undefined) return undefined;
    if (typeof owner !== "string" || !isCount(fence)) throw noRecord(name, textOf(String(row["key"])));
    const lock = { owner, fence: BigInt(fence) };
    if (boot === host.bootId) return { ...lock, expiresAt: Number(row["expires_monotonic_ms"]) };
    // Written before this host was started: whoever held it died with all other processes of the host.
    if (Number(row["written_wall_ms"]) <= host.bootedAtWallMs()) return undefined;
    // A container with a boot id of its own, on the same host: only wall time is shared with it.
    return { ...lock, expiresAt: at.monotonicMs + (Number(row["expires_wall_ms"]) - at.wallMs) };
  }

  function put(on: Table, key: string, { kept, at }: { readonly kept: KeptKey; readonly at: Moment }): void {
    const { lock, counter, forgetAt } = kept;
    const wall = (ms: number): number => at.wallMs + (ms - at.monotonicMs);
    on.prepare(PUT).run(
      bytesOf(key),
      lock?.owner ?? null,
      lock === undefined ? null : Number(lock.fence),
      Number(counter),
      lock === undefined ? null : host.bootId,
      lock === undefined ? null : lock.expiresAt,
      lock === undefined ? null : wall(lock.expiresAt),
      at.wallMs,
      wall(forgetAt),
    );
  }

  /** One step to a key; `mark` undefined: under any. First without a lock on the file: what is refused writes nothing. */
  async function step<Answer>(
    { key, mark }: { readonly key: string; readonly mark: KnownMark | undefined },
    decide: (kept: KeptKey | undefined, context: RecordContext & { readonly at: Moment }) => Step<Answer>,
  ): Promise<{ readonly answer: Answer } | OtherMark> {
    const attempt = (on: Table): Step<Answer> & { at: Moment; otherMark: boolean } => {
      const at = moment();
      const found = find(on, key, at);
      const decided = decide(found.kept, { now: at.now, retentionMs, at });
      return { ...decided, at, otherMark: mark !== undefined && found.mark !== mark.text };
    };
    const seen = await file.read(attempt);
    if (seen.otherMark) return OTHER_MARK;
    sweeper.worked(key);
    if (seen.next === undefined) return { answer: seen.answer };
    return file.write((on) => {
      const decided = attempt(on);
      if (decided.otherMark) return OTHER_MARK;
      if (decided.next !== undefined) put(on, key, { kept: decided.next, at: decided.at });
      return { answer: decided.answer };
    });
  }

  /** As {@link step}, for steps that need no mark. */
  async function unmarked<Answer>(
    key: string,
    decide: (kept: KeptKey | undefined, context: RecordContext) => Step<Answer>,
  ): Promise<Answer> {
    const outcome = await step({ key, mark: undefined }, decide);
    if ("answer" in outcome) return outcome.answer;
    throw new BackendError("BACKEND_MARK_UNREADABLE", { backend: name, what: "its mark is another one" });
  }

  function quarantineLeft({ quarantinedUntil }: KnownMark, at: Moment): InQuarantine | undefined {
    const remainingMs = quarantinedUntil - at.wallMs;
    return remainingMs > 0 ? { kind: "quarantined", remainingMs } : undefined;
  }

  function sweep(after: string, pageSize: number): Promise<string | undefined> {
    return file.write((on) => {
      const at = moment();
      const page = on.prepare(PAGE).all(bytesOf(""), bytesOf(after), pageSize) as Row[];
      for (const row of page) {
        if (!isForgotten(keptOf(row, at), at.now)) continue;
        on.prepare(DELETE).run(Buffer.from(String(row["key"]), "hex"), row["counter"] ?? null);
      }
      const last = page.at(-1)?.["key"];
      return page.length < pageSize || last === undefined ? undefined : textOf(String(last));
    });
  }

  return {
    async acquire(mark: KnownMark, request: AcquireRequest): Promise<AcquireOutcome> {
      const outcome = await step<AcquireOutcome | { readonly kind: "counter-full" }>(
        { key: request.key, mark },
        (kept, context) => {
          const quarantined = quarantineLeft(mark, context.at);
          if (quarantined !== undefined) return { answer: quarantined, next: undefined };
          const wallMicros = BigInt(Math.round(context.at.wallMs * 1000));
          const proposal = clampProposal(request.proposal, wallMicros, skew);
          return acquireKey(kept, { ...request, proposal }, context);
        },
      );
      if (!("answer" in outcome)) return outcome;
      const { answer } = outcome;
      if (answer.kind === "counter-full") throw counterBroken(name, request.key);
      return answer;
    },

    async raise(mark: KnownMark, request: RaiseRequest): Promise<RaiseOutcome> {
      const outcome = await step({ key: request.key, mark }, (kept, context) =>
        raiseKey(kept, request, context),
      );
      return "answer" in outcome ? { kind: outcome.answer } : outcome;
    },

    async extend(mark: KnownMark, request: ExtendRequest): Promise<ExtendOutcome> {
      const outcome = await step<ExtendOutcome>({ key: request.key, mark }, (kept, context) => {
        const quarantined = quarantineLeft(mark, context.at);
        const asked = { ...request, quarantined: quarantined !== undefined };
        const { answer, next } = extendKey(kept, asked, context);
        if (answer === "quarantined") return { answer: quarantined ?? { kind: "not-owner" }, next };
        return { answer: { kind: answer }, next };
      });
      return "answer" in outcome ? outcome.answer : outcome;
    },

    release: (key: string, owner: string): Promise<ReleaseReply> =>
      unmarked(key, (kept, context) => releaseKey(kept, { owner }, context)),

    forceRelease: (key: string): Promise<boolean> => unmarked(key, forceReleaseKey),

    inspect: (key: string): Promise<KeyRecord> =>
      file.read((on) => {
        const at = moment();
        const { lock, counter } = keptNow(find(on, key, at).kept, at.now);
        if (lock === undefined) return { lock, counter };
        const { owner, fence, expiresAt } = lock;
        return { lock: { owner, fence, remainingMs: expiresAt - at.monotonicMs }, counter };
      }),

    list: ({ prefix, cursor, pageSize }: ListRequest): Promise<ListPage> =>
      file.read((on) => {
        const at = moment();
        const begin = bytesOf(prefix);
        const page = on.prepare(PAGE).all(begin, bytesOf(cursor ?? ""), pageSize) as Row[];
        const inside = page.filter((row) =>
          String(row["key"]).startsWith(begin.toString("hex").toUpperCase()),
        );
        const live = inside.filter((row) => keptNow(keptOf(row, at), at.now).lock !== undefined);
        const more = inside.length === page.length && page.length === pageSize;
        const keyOf = (row: Row | undefined): string => textOf(String(row?.["key"] ?? ""));
        return { keys: live.map(keyOf), next: more ? keyOf(inside.at(-1)) : undefined };
      }),

    lift: (key: string, token: bigint): Promise<bigint> =>
      unmarked(key, (kept, context) => liftKey(kept, token, context)),

    look: (): Promise<Sight> =>
      file.read((on) => {
        const at = moment();
        // By the wall clock: a quarantine must outlive a start of the host.
        return { mark: find(on, "", at).mark, origin: "", serverId: undefined, nowMs: at.wallMs };
      }),

    swapMark: (from: string | undefined, to: string): Promise<boolean> =>
      file.write((on) => {
        if (find(on, "", moment()).mark !== from) return false;
        on.prepare(PUT_MARK).run(MARK_KEY, to);
        return true;
      }),

    examine: (): Promise<Examination> =>
      file.read((on) => examination(on, { ...options, path: options.file.path })),

    async close(): Promise<void> {
      sweeper.stop();
      await file.close();
    },
  };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function bytesOf(key: string): Buffer {
  return Buffer.from(key, "utf8");
}

function textOf(hex: string): string {
  return Buffer.from(hex, "hex").toString("utf8");
}
