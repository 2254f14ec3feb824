/**
 * A connection of the adapter's own to a database file: short transactions, one for all that is written in a turn of the event
 * loop, tried again a few milliseconds later when another process is writing, so that the event loop is not held up; and a
 * look whether the file is still the same.
 */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BackendError } from "../../errors.js";
import { createTurns, type Asked } from "../shared/turns.js";
import type { SqliteFile, SqliteLike, SqliteStatement } from "./client.js";
import { faultOf, isBusy, isNoTable } from "./faults.js";
import type { Host } from "./host.js";

/** When a write is on disk. "normal": a crash of processes loses nothing. "full": a power cut neither. */
export type Synchronous = "normal" | "full";

/** What is run in a transaction. */
export interface Table {
  /** The same text gives the same prepared statement. */
  prepare(sql: string): SqliteStatement;
}

/** The file behind a backend. */
export interface LockFile {
  /** One snapshot of the file; takes no lock that writers would wait for. */
  read<T>(work: (table: Table) => T): Promise<T>;
  /**
   * One atomic step, alone. What is asked for in the same turn, and while another process is writing, is done one behind the other
   * in one transaction. `work` may be called again where that was undone.
   */
  write<T>(work: (table: Table) => T): Promise<T>;
  /** What was asked for in the same turn is done before. */
  close(): Promise<void>;
}

/** What it needs. */
export interface LockFileOptions {
  readonly name: string;
  readonly file: SqliteFile;
  readonly host: Host;
  readonly synchronous: Synchronous;
  /** The statement that makes the table. */
  readonly schema: string;
}

/** What is done in a transaction. */
type Step = (table: Table) => unknown;

interface Opened {
  readonly db: SqliteLike;
  readonly inode: string;
  readonly statements: Map<string, SqliteStatement>;
}

/** For how long SQLite itself waits for another process, holding up the event loop. */
const BUSY_TIMEOUT_MS = 2;
const RETRY_MS_MIN = 1;
const RETRY_MS_MAX = 8;
/** A write takes well under a millisecond, so that this many ms of bad luck are no luck any more. */
const BUSY_MS_MAX = 2_000;
const REPLACED_MAX = 4;
/** So many steps in one transaction: other processes cannot write meanwhile, and this one does nothing else. */
const STEPS_MAX = 128;
/** Taken now: tests of users replace timers, and this one among them. */
const { setImmediate } = globalThis;

/** Kinds of file systems that several hosts may share, where neither locks nor clocks mean anything. */
const SHARED_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x69_69, "NFS"],
  [0x51_7b, "SMB"],
  [0xff_53_4d_42, "CIFS"],
  [0xfe_53_4d_42, "SMB2"],
  [0x53_46_41_4f, "AFS"],
  [0x00_c3_64_00, "Ceph"],
]);

/** Opens nothing yet. */
export function lockFile(options: LockFileOptions): LockFile {
  const { name, file, host } = options;
  let opened: Opened | undefined;
  let closed = false;

  /** The connection, made anew when the file is another one than it was opened on. */
  function connection(): Opened {
    if (closed) throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
    if (opened !== undefined && inodeOf(file.path) !== opened.inode) drop();
    opened ??= open();
    return opened;
  }

  function open(): Opened {
    const kind = SHARED_FILE_SYSTEMS.get(host.fileSystem(dirname(file.path)) ?? 0);
    if (kind !== undefined) {
      const what = `its file ${file.path} lies on ${kind}, which several hosts may share: their clocks and locks do not fit`;
      throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
    }
    const db = file.open();
    try {
      db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
      db.exec(`PRAGMA synchronous = ${options.synchronous}`);
      const [pages] = db.prepare("PRAGMA page_count").all() as { page_count?: number }[];
      // Of a file that is in use already the mode is its owner's business.
      if (pages?.page_count === 0) db.exec("PRAGMA journal_mode = WAL");
      db.exec(options.schema);
      return { db, inode: inodeOf(file.path) ?? "", statements: new Map() };
    } catch (error) {
      db.close();
      throw error;
    }
  }

  function drop(): void {
    const db = opened?.db;
    opened = undefined;
    db?.close();
  }

  function tableOf({ db, statements }: Opened): Table {
    return {
      prepare(sql: string): SqliteStatement {
        let statement = statements.get(sql);
        if (statement === undefined) {
          statement = db.prepare(sql);
          statements.set(sql, statement);
        }
        return statement;
      },
    };
  }

  /** Tries again while others write, for a while; and on another connection where the table was gone. */
  async function untilDone<T>(attempt: (opened: Opened) => T | Promise<T>): Promise<T> {
    const until = performance.now() + BUSY_MS_MAX;
    let replaced = 0;
    for (;;) {
      try {
        return attempt(connection());
      } catch (error) {
        if (isNoTable(error) && ++replaced < REPLACED_MAX) drop();
        else if (!isBusy(error) || performance.now() > until) throw faultOf(name, error);
      }
      await sleep(RETRY_MS_MIN + Math.random() * (RETRY_MS_MAX - RETRY_MS_MIN));
    }
  }

  /** All of them in the transaction that has begun, or none. */
  function commit(on: Opened, steps: readonly Step[]): readonly unknown[] {
    try {
      const results = steps.map((step) => step(tableOf(on)));
      on.db.exec("COMMIT");
      return results;
    } catch (error) {
      rollBack(on.db);
      throw error;
    }
  }

  function writeAll(steps: readonly Step[]): Promise<readonly unknown[]> {
    return untilDone((on) => {
      on.db.exec("BEGIN IMMEDIATE");
      return commit(on, steps);
    });
  }

  /** Many in one, whose lock is taken already: all of them or, where one fails, none, and then each alone. */
  async function writeTogether(on: Opened, asked: readonly Asked<Step>[]): Promise<void> {
    const steps = asked.map(({ op }) => op);
    const settle = (results: readonly unknown[]): void =>
      asked.forEach(({ resolve }, i) => resolve(results[i]));
    try {
      settle(commit(on, steps));
      return;
    } catch (error) {
      // Without WAL a commit waits for those who read, which each of them alone would do as well.
      if (isBusy(error)) {
        try {
          settle(await writeAll(steps));
          return;
        } catch (late) {
          if (late instanceof BackendError && late.code === "BACKEND_BUSY") throw late;
        }
      }
    }
    for (const { op, resolve, reject } of asked) writeAll([op]).then(([result]) => resolve(result), reject);
  }

  const turns = createTurns<Step, Opened>({
    max: STEPS_MAX,
    use: (work) =>
      untilDone((on) => {
        on.db.exec("BEGIN IMMEDIATE");
        return work(on);
      }),
    fits: () => true,
    once: () => undefined,
    run: writeTogether,
  });

  return {
    read: <T>(work: (table: Table) => T) => untilDone((on) => work(tableOf(on))),

    write: <T>(work: (table: Table) => T) => turns.add<T>(work),

    async close(): Promise<void> {
      // Each step reads before it writes.
      await new Promise<void>((resolve) => setImmediate(resolve));
      turns.flush();
      closed = true;
      drop();
    },
  };
}

/** SQLite may have done it already. */
function rollBack(db: SqliteLike): void {
  try {
    db.exec("ROLLBACK");
  } catch {
    // No transaction is open, which is what was wanted.
  }
}

function inodeOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}
