/** The steps of a lock as statements of MySQL and MariaDB, and what their answers mean. */
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
import { MAX_FENCE } from "../../engine/token.js";
import { BackendError, show } from "../../errors.js";
import type { Lanes } from "../shared/lanes.js";
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
import { counterBroken } from "../shared/refusals.js";
import { createSweeper } from "../shared/sweeper.js";
import type { MysqlResult } from "./client.js";
import type { Asked, Dialect, MysqlLane, Row } from "./connection.js";
import { examination } from "./examination.js";
import { numberOf } from "./faults.js";
import { createTable, statementsOn } from "./statements.js";

/** What a store needs. */
export interface MysqlStoreOptions {
  readonly name: string;
  readonly deployment: Deployment;
  /** Not quoted. */
  readonly tableParts: readonly string[];
  /** Undefined: the one of the server. */
  readonly dialect: Dialect | undefined;
}

/** How often a step is repeated that another one overtook. */
const RACES_MAX = 8;
const NO_SUCH_TABLE = 1146;
const UNKNOWN_DATABASE = 1049;
const DENIED: ReadonlySet<number> = new Set([1044, 1142, 1143, 1227]);
/** Undone as a whole, with nothing wrong: it may be tried again at once. */
const DEADLOCK: ReadonlySet<number> = new Set([1213, 1020]);

const OTHER_MARK: OtherMark = { kind: "other-mark" };

/** What is there, when a step changed nothing. */
interface Standing {
  readonly counter: bigint;
  readonly lock: { readonly owner: string; readonly fence: bigint; readonly remainingMs: number } | undefined;
}

/** The store behind the connections. */
export function mysqlStore(lanes: Lanes<MysqlLane>, options: MysqlStoreOptions): MarkedStore {
  const { name, deployment, tableParts } = options;
  const table = tableParts.map((part) => `\`${part}\``).join(".");
  const statements = statementsOn(table, {
    skewMicros: Math.round(deployment.clockSkewMs * 1000),
    retentionMicros: Math.round(deployment.tokenRetentionMs * 1000),
  });
  const sweeper = createSweeper({ retentionMs: deployment.tokenRetentionMs, sweep });

  async function sweep(after: string, pageSize: number): Promise<string | undefined> {
    return lanes.use(name, async (lane) => {
      const page = keysIn(await lane.rows(name, statements.old(Buffer.from(after, "utf8"), pageSize)));
      const old = page.filter(({ flag }) => flag).map(({ key }) => key);
      if (old.length > 0) await lane.change(name, statements.forget(old));
      return page.length < pageSize ? undefined : page.at(-1)?.key.toString("utf8");
    });
  }

  /** Repeats what the server undid because of a deadlock. */
  async function undeadlocked<T>(ask: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await ask();
      } catch (error) {
        if (tries >= RACES_MAX || !DEADLOCK.has(numberOf(causeOf(error)) ?? 0)) throw error;
      }
    }
  }

  function rows(asked: Asked): Promise<readonly Row[]> {
    return undeadlocked(() => lanes.use(name, (lane) => lane.rows(name, asked)));
  }

  function change(asked: Asked): Promise<MysqlResult> {
    return undeadlocked(() => lanes.use(name, (lane) => lane.change(name, asked)));
  }

  /** Where there is no table, nothing is stored. */
  async function inTable<T>(none: T, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (numberOf(causeOf(error)) === NO_SUCH_TABLE) return none;
      throw error;
    }
  }

  /**
   * A step under a mark: not over a connection to another memory, nor where there is no table any more. `attempt` comes back
   * with nothing when it changed nothing; why, is asked then, and `judge` says what it means, or nothing when it must be
   * tried again, since somebody changed what was in the way.
   */
  async function step<O>(
    { key, mark }: { readonly key: string; readonly mark: KnownMark },
    attempt: (lane: MysqlLane) => Promise<O | undefined>,
    judge: (standing: Standing, quarantined: InQuarantine | undefined) => O | undefined,
  ): Promise<O | OtherMark> {
    for (let race = 1; race <= RACES_MAX; race++) {
      const outcome = await undeadlocked(() =>
        inTable<O | OtherMark | undefined>(OTHER_MARK, () =>
          lanes.use(name, async (lane) => {
            if (lane.origin !== mark.origin) return OTHER_MARK;
            const done = await attempt(lane);
            if (done !== undefined) return done;
            const [row] = await lane.rows(name, statements.why(mark, key));
            const [isMark, left, owner, fence, counter, remaining] = row ?? [];
            if (Number(isMark) !== 1) return OTHER_MARK;
            const remainingMs = Number(left);
            return judge(
              standingOf([owner, fence, counter, remaining]),
              mark.quarantinedUntil > 0 && remainingMs > 0 ? { kind: "quarantined", remainingMs } : undefined,
            );
          }),
        ),
      );
      if (outcome === undefined) continue;
      sweeper.worked(key);
      return outcome;
    }
    const what = `others were faster ${RACES_MAX} times, and had given it back each time`;
    throw new BackendError("BACKEND_BUSY", { backend: name, what });
  }

  async function look(): Promise<Sight> {
    try {
      return await lanes.use(name, async (lane) => {
        const [row] = await lane.rows(name, statements.look());
        const [mark, nowMs] = row ?? [];
        const { origin, serverId } = lane;
        return { mark: textOf(mark), origin, serverId, nowMs: Number(nowMs) };
      });
    } catch (error) {
      const number = numberOf(causeOf(error)) ?? 0;
      if (number === NO_SUCH_TABLE) {
        await makeTable();
        return look();
      }
      if (!DENIED.has(number)) throw error;
      const what = `its user needs SELECT, INSERT, UPDATE and DELETE on the table ${table} (${wordsOf(error)})`;
      throw new BackendError("BACKEND_NO_PERMISSION", { backend: name, what }, error);
    }
  }

  async function makeTable(): Promise<void> {
    const text = createTable(table);
    try {
      await change({ sql: text, values: [] });
    } catch (error) {
      const number = numberOf(causeOf(error)) ?? 0;
      if (!DENIED.has(number) && number !== UNKNOWN_DATABASE) throw error;
      const what =
        `the table ${table} is not there and its user may not make it (${wordsOf(error)}). Run once, as somebody ` +
        `who may, what mysqlSchema() gives: ${text}`;
      throw new BackendError("BACKEND_NO_PERMISSION", { backend: name, what }, error);
    }
  }

  return {
    acquire(mark: KnownMark, request: AcquireRequest): Promise<AcquireOutcome> {
      const { key, owner } = request;
      return step<AcquireOutcome>(
        { key, mark },
        async (lane) => {
          const dialect = options.dialect ?? lane.dialect;
          const asked = statements.acquire(dialect, mark, request);
          if (dialect === "mysql") {
            const { affectedRows, insertId } = await lane.change(name, asked);
            return affectedRows > 0 ? { kind: "granted", fence: BigInt(insertId) } : undefined;
          }
          const [row] = await lane.rows(name, asked);
          const reply = textOf(row?.[0]);
          const rest = reply?.slice(1) ?? "";
          switch (reply?.[0]) {
            case undefined:
              return undefined;
            case "g":
              return { kind: "granted", fence: BigInt(rest) };
            case "h":
              return { kind: "held", remainingMs: Number(rest) };
            case "x":
              throw counterBroken(name, key);
            default:
              throw new BackendError("BACKEND_REFUSED", {
                backend: name,
                what: `it answered ${show(reply)}`,
              });
          }
        },
        ({ lock, counter }, quarantined) => {
          if (quarantined !== undefined) return quarantined;
          if (lock?.owner === owner) return { kind: "granted", fence: lock.fence };
          if (lock !== undefined) return { kind: "held", remainingMs: lock.remainingMs };
          if (counter >= MAX_FENCE) throw counterBroken(name, key);
          return undefined;
        },
      );
    },

    raise(mark: KnownMark, request: RaiseRequest): Promise<RaiseOutcome> {
      const { key, owner, fence } = request;
      return step<RaiseOutcome>(
        { key, mark },
        async (lane) => {
          const { affectedRows } = await lane.change(name, statements.raise(mark, request));
          return affectedRows > 0 ? { kind: "raised" } : undefined;
        },
        ({ lock }) => (lock?.owner === owner && lock.fence === fence ? undefined : { kind: "refused" }),
      );
    },

    extend(mark: KnownMark, request: ExtendRequest): Promise<ExtendOutcome> {
      const { key, owner, mayHeal } = request;
      return step<ExtendOutcome>(
        { key, mark },
        async (lane) => {
          const kept = await lane.change(name, statements.extend(mark, request));
          if (kept.affectedRows > 0) return { kind: "extended" };
          if (!mayHeal) return undefined;
          const healed = await lane.change(name, statements.heal(mark, request));
          return healed.affectedRows > 0 ? { kind: "recreated" } : undefined;
        },
        ({ lock }, quarantined) => {
          // It came back between the two statements.
          if (lock?.owner === owner) return undefined;
          if (quarantined !== undefined) return quarantined;
          return lock === undefined && mayHeal ? undefined : { kind: "not-owner" };
        },
      );
    },

    async release(key: string, owner: string): Promise<ReleaseReply> {
      const released = await inTable(
        false,
        async () => (await change(statements.release(key, owner))).affectedRows > 0,
      );
      return released ? "released" : "not-owner";
    },

    forceRelease: (key: string): Promise<boolean> =>
      inTable(false, async () => (await change(statements.forceRelease(key))).affectedRows > 0),

    async inspect(key: string): Promise<KeyRecord> {
      const [row] = await inTable<readonly Row[]>([], () => rows(statements.inspect(key)));
      return standingOf(row ?? []);
    },

    async list({ prefix, cursor, pageSize }: ListRequest): Promise<ListPage> {
      const begin = Buffer.from(prefix, "utf8");
      const asked = statements.list(begin, Buffer.from(cursor ?? "", "utf8"), pageSize);
      const page = keysIn(await inTable<readonly Row[]>([], () => rows(asked)));
      const inside = page.filter(({ key }) => key.subarray(0, begin.length).equals(begin));
      const more = inside.length === page.length && page.length === pageSize;
      return {
        keys: inside.filter(({ flag }) => flag).map(({ key }) => key.toString("utf8")),
        next: more ? inside.at(-1)?.key.toString("utf8") : undefined,
      };
    },

    async lift(key: string, token: bigint): Promise<bigint> {
      const lifted = await inTable(
        false,
        async () => (await change(statements.lift(key, token))).affectedRows > 0,
      );
      if (!lifted) {
        await makeTable();
        await change(statements.lift(key, token));
      }
      const [row] = await rows(statements.counter(key));
      return BigInt(textOf(row?.[0]) ?? 0);
    },

    look,

    swapMark(from: string | undefined, to: string): Promise<boolean> {
      const asked = from === undefined ? statements.firstMark(to) : statements.swapMark(from, to);
      return inTable(false, async () => (await change(asked)).affectedRows > 0);
    },

    async examine(): Promise<Examination> {
      const [row] = await rows(statements.examine(tableParts));
      return examination(
        (row ?? []).map((value) => textOf(value)),
        table,
      );
    },

    async close(): Promise<void> {
      sweeper.stop();
      lanes.leave();
    },
  };
}

/** Owner, fence, counter and remaining ms of a row, each as text; all null where there is none. */
function standingOf([owner, fence, counter, remaining]: Row): Standing {
  const remainingMs = Number(textOf(remaining) ?? 0);
  const kept = { counter: BigInt(textOf(counter) ?? 0) };
  if (!(remainingMs > 0)) return { ...kept, lock: undefined };
  return {
    ...kept,
    lock: { owner: textOf(owner) ?? "", fence: BigInt(textOf(fence) ?? 0), remainingMs },
  };
}

/** Rows of a key in hexadecimal digits and a flag. */
function keysIn(rows: readonly Row[]): readonly { readonly key: Buffer; readonly flag: boolean }[] {
  return rows.map(([key, flag]) => ({
    key: Buffer.from(textOf(key) ?? "", "hex"),
    flag: Number(flag) === 1,
  }));
}

/** A column as text, however the server declares it. */
function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "bigint") return `${value}`;
  return Buffer.isBuffer(value) ? value.toString("utf8") : undefined;
}

/** What the server said. */
function causeOf(error: unknown): unknown {
  return error instanceof BackendError ? error.cause : error;
}

function wordsOf(error: unknown): string {
  const cause = causeOf(error);
  return cause instanceof Error ? cause.message : String(cause);
}
