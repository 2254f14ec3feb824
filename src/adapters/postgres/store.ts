/** The steps of a lock as statements of PostgreSQL, and what their answers mean. */
import type {
  AcquireRequest,
  Examination,
  ExtendRequest,
  KeyRecord,
  ListPage,
  ListRequest,
  RaiseRequest,
  ReleaseReply,
  Deployment,
  Ticket,
} from "../../backend.js";
import { BackendError } from "../../errors.js";
import type {
  AcquireOutcome,
  ExtendOutcome,
  KnownMark,
  MarkedStore,
  RaiseOutcome,
  Sight,
} from "../shared/marked-session.js";
import { createSweeper } from "../shared/sweeper.js";
import type { Lanes } from "../shared/lanes.js";
import { createBatch, type Operation, type Via } from "./batch.js";
import type { PostgresLane, Row, Statement } from "./connection.js";
import { examination } from "./examination.js";
import { stateOf } from "./faults.js";
import type { Inbox } from "./inbox.js";
import { acquireOutcome, extendOutcome, raiseOutcome } from "./outcomes.js";
import { rowStatementsOn } from "./row-statements.js";
import { createTable, statementsOn } from "./statements.js";

/** What a store needs. */
export interface PostgresStoreOptions {
  readonly name: string;
  readonly deployment: Deployment;
  /** Quoted. */
  readonly table: string;
  /** Where to hear of tickets whose turn has come. */
  readonly inbox: Inbox;
}

/** How often an acquire is repeated that another one overtook. */
const RACES_MAX = 8;
/** For how long a ticket stands in line without being renewed. */
const WAITS_MS_MAX = 24 * 3_600_000;
const UNDEFINED_TABLE = "42P01";
const UNDEFINED_COLUMN = "42703";
const UNDEFINED_SCHEMA = "3F000";
const NO_PERMISSION = "42501";
/** Nobody can be called: no column for the line, a full queue of notifications, a server that has none or forbids them. */
const LINE_ONLY: ReadonlySet<string> = new Set([UNDEFINED_COLUMN, "54000", "42883", NO_PERMISSION]);
/** Somebody else made it at the same moment. */
const MADE_MEANWHILE: ReadonlySet<string> = new Set(["42P07", "23505", "42710"]);

/** The store behind the connections. */
export function postgresStore(lanes: Lanes<PostgresLane>, options: PostgresStoreOptions): MarkedStore {
  const { name, table, deployment, inbox } = options;
  const statements = statementsOn(table);
  const skewMicros = Math.round(deployment.clockSkewMs * 1000);
  const retention = deployment.tokenRetentionMs;
  /** Whether the table has a column for those who wait; one of an earlier release has none. */
  let isLined = true;
  const sweeper = createSweeper({
    retentionMs: retention,
    sweep: async (after, pageSize) => {
      const [row] = await ask(statements.sweep, [bytesOf(after), pageSize]);
      const [last, seen] = row ?? [];
      return Number(seen) < pageSize || typeof last !== "string" ? undefined : textOf(last);
    },
  });
  const anyLane: Via = (work) => lanes.use(name, work);
  const batch = createBatch({
    name,
    lanes,
    statements: rowStatementsOn(table),
    figures: {
      acquire: [skewMicros, retention],
      raise: [retention],
      extend: [retention],
      release: [retention],
    },
    worked: sweeper.worked,
    undone: isOfLine,
  });

  /** With the others of its turn, or by itself. */
  function run<T>(operation: Operation<T>): Promise<T> {
    return isLined ? batch.add(operation) : operation.alone(anyLane);
  }

  function ask(statement: Statement, values: readonly unknown[], via = anyLane): Promise<readonly Row[]> {
    return via((lane) => lane.run(name, statement, values));
  }

  /** A step under a mark: not over a connection to another memory, and not where there is no table any more. */
  async function step(
    {
      via,
      statement,
      key,
      mark,
    }: { readonly via: Via; readonly statement: Statement; readonly key: string; readonly mark: KnownMark },
    values: readonly unknown[],
  ): Promise<string> {
    return via(async (lane) => {
      if (lane.origin !== mark.origin) return "m";
      try {
        const all = [bytesOf(key), mark.text, mark.quarantinedUntil, ...values];
        const rows = await lane.run(name, statement, all);
        sweeper.worked(key);
        return rows[0]?.[0] ?? "";
      } catch (error) {
        if (stateOf(causeOf(error)) === UNDEFINED_TABLE) return "m";
        throw error;
      }
    });
  }

  async function look(): Promise<Sight> {
    try {
      return await lanes.use(name, async (lane) => {
        const [row] = await lane.run(name, statements.look, []);
        const [mark, nowMs] = row ?? [];
        const { origin, serverId } = lane;
        return { mark: mark ?? undefined, origin, serverId, nowMs: Number(nowMs) };
      });
    } catch (error) {
      switch (stateOf(causeOf(error))) {
        case UNDEFINED_TABLE:
          await makeTable();
          return look();
        case NO_PERMISSION: {
          const what = `its user needs SELECT, INSERT, UPDATE and DELETE on the table ${table} (${wordsOf(error)})`;
          throw new BackendError("BACKEND_NO_PERMISSION", { backend: name, what }, error);
        }
        default:
          throw error;
      }
    }
  }

  async function makeTable(): Promise<void> {
    const text = createTable(table);
    try {
      await ask({ name: "", text }, []);
    } catch (error) {
      const state = stateOf(causeOf(error)) ?? "";
      if (MADE_MEANWHILE.has(state)) return;
      if (state !== NO_PERMISSION && state !== UNDEFINED_SCHEMA) throw error;
      const what =
        `the table ${table} is not there and its user may not make it (${wordsOf(error)}). Run once, as somebody ` +
        `who may, what postgresSchema() gives: ${text}`;
      throw new BackendError("BACKEND_NO_PERMISSION", { backend: name, what }, error);
    }
  }

  /** Where there is no table, nothing is stored. */
  async function askTable(
    statement: Statement,
    values: readonly unknown[],
    via = anyLane,
  ): Promise<readonly Row[]> {
    try {
      return await ask(statement, values, via);
    } catch (error) {
      if (stateOf(causeOf(error)) === UNDEFINED_TABLE) return [];
      throw error;
    }
  }

  /** Whether a statement failed for the line alone, which is advice: the one without it is to be tried. */
  function isOfLine(error: unknown): boolean {
    const state = stateOf(causeOf(error)) ?? "";
    if (state === UNDEFINED_COLUMN) isLined = false;
    return LINE_ONLY.has(state);
  }

  /** Frees a lock and calls the next, or frees it where nobody can be called. `inLine`: who is back in line before that. */
  async function free(
    which: "release" | "forceRelease",
    values: readonly unknown[],
    { inLine = [], via = anyLane }: { readonly inLine?: readonly unknown[]; readonly via?: Via } = {},
  ): Promise<boolean> {
    const freed = async (statement: Statement, all: readonly unknown[]): Promise<boolean> =>
      (await askTable(statement, all, via)).length > 0;
    const plainly = which === "release" ? statements.releaseOnly : statements.forceReleaseOnly;
    if (!isLined) return freed(plainly, values);
    const statement = inLine.length > 0 ? statements.giveBack : statements[which];
    try {
      return await freed(statement, [...values, ...inLine]);
    } catch (error) {
      if (!isOfLine(error)) throw error;
      return freed(plainly, values);
    }
  }

  /** What a statement needs to put a ticket in line; nothing where it cannot be called. */
  function standing(ticket: Ticket | undefined): readonly unknown[] {
    const address = ticket === undefined ? undefined : inbox.address(ticket.id);
    if (ticket === undefined || address === undefined || !isLined) return [];
    return [address, ticket.since.toString(), Math.min(ticket.waitsMs, WAITS_MS_MAX)];
  }

  /** An acquire, and a place in line where it has a ticket and the answer is held. */
  async function tryOnce(via: Via, mark: KnownMark, request: AcquireRequest): Promise<string> {
    const { key, owner, ttlMs, proposal, ticket } = request;
    const values = [owner, ttlMs, proposal.toString(), skewMicros, retention];
    const inLine = standing(ticket);
    if (ticket !== undefined && inLine.length > 0) {
      try {
        const reply = await step({ via, statement: statements.wait, key, mark }, [...values, ...inLine]);
        if (/^[hk]/.test(reply)) inbox.joined(ticket);
        else inbox.left(ticket.id);
        return reply;
      } catch (error) {
        // Somebody else's transaction that holds the row, too: to be told held, nobody need wait for it.
        if (!isOfLine(error) && stateOf(causeOf(error)) === undefined) throw error;
      }
    }
    return step({ via, statement: statements.acquire, key, mark }, values);
  }

  async function acquireAlone(via: Via, mark: KnownMark, request: AcquireRequest): Promise<AcquireOutcome> {
    for (let race = 1; ; race++) {
      const outcome = acquireOutcome(await tryOnce(via, mark, request), { name, key: request.key });
      if (outcome !== "again") return outcome;
      if (race < RACES_MAX) continue;
      throw new BackendError("BACKEND_BUSY", {
        backend: name,
        what: `others were faster ${race} times, and had released it each time`,
      });
    }
  }

  /** An acquire among many; undefined where it has to go by itself: to stand in line, or since another one was faster. */
  function readAcquire(reply: string | undefined, request: AcquireRequest): AcquireOutcome | undefined {
    const outcome = reply === undefined ? "again" : acquireOutcome(reply, { name, key: request.key });
    if (outcome === "again") return undefined;
    if (outcome.kind === "held") return standing(request.ticket).length === 0 ? outcome : undefined;
    if (outcome.kind === "granted" && request.ticket !== undefined) inbox.left(request.ticket.id);
    return outcome;
  }

  async function raiseAlone(via: Via, mark: KnownMark, request: RaiseRequest): Promise<RaiseOutcome> {
    const { key, owner, fence, token } = request;
    const values = [owner, fence.toString(), token.toString(), retention];
    return raiseOutcome(await step({ via, statement: statements.raise, key, mark }, values), { name, key });
  }

  async function extendAlone(via: Via, mark: KnownMark, request: ExtendRequest): Promise<ExtendOutcome> {
    const { key, owner, ttlMs, token, mayHeal } = request;
    const statement = mayHeal ? statements.heal : statements.extend;
    const values = [owner, ttlMs, token.toString(), retention];
    return extendOutcome(await step({ via, statement, key, mark }, values), { name, key });
  }

  async function releaseAlone(
    via: Via,
    [key, owner]: readonly [string, string],
    inLine: readonly unknown[] = [],
  ): Promise<ReleaseReply> {
    const wasFreed = await free("release", [bytesOf(key), owner, retention], { inLine, via });
    return wasFreed ? "released" : "not-owner";
  }

  return {
    acquire(mark: KnownMark, request: AcquireRequest): Promise<AcquireOutcome> {
      const { key, owner, ttlMs, proposal } = request;
      return run({
        kind: "acquire",
        key,
        mark,
        values: [owner, ttlMs, proposal.toString()],
        alone: (via) => acquireAlone(via, mark, request),
        read: (answer) => readAcquire(answer, request),
      });
    },

    raise(mark: KnownMark, request: RaiseRequest): Promise<RaiseOutcome> {
      const { key, owner, fence, token } = request;
      return run({
        kind: "raise",
        key,
        mark,
        values: [owner, fence.toString(), token.toString()],
        alone: (via) => raiseAlone(via, mark, request),
        // The mark and its quarantine are nothing to it once they are known.
        read: (text) => raiseOutcome(text === "r" ? "r" : "n", { name, key }),
      });
    },

    extend(mark: KnownMark, request: ExtendRequest): Promise<ExtendOutcome> {
      const { key, owner, ttlMs, token, mayHeal } = request;
      return run({
        kind: "extend",
        key,
        mark,
        values: [owner, ttlMs, token.toString()],
        alone: (via) => extendAlone(via, mark, request),
        // What is to be made anew is rare.
        read: (text = "n") => (text === "n" && mayHeal ? undefined : extendOutcome(text, { name, key })),
      });
    },

    async release(key: string, owner: string, ticket?: Ticket): Promise<ReleaseReply> {
      const inLine = standing(ticket);
      if (ticket !== undefined && inLine.length > 0) {
        // Ahead of the call, which may come before the answer.
        inbox.joined(ticket);
        return releaseAlone(anyLane, [key, owner], inLine);
      }
      return run({
        kind: "release",
        key,
        mark: undefined,
        values: [owner],
        alone: (via) => releaseAlone(via, [key, owner]),
        read: (text) => (text === "r" ? "released" : "not-owner"),
      });
    },

    forceRelease: (key: string): Promise<boolean> => free("forceRelease", [bytesOf(key), retention]),

    async inspect(key: string): Promise<KeyRecord> {
      const [row] = await askTable(statements.inspect, [bytesOf(key)]);
      if (row === undefined) return { lock: undefined, counter: 0n };
      const [counter, owner, fence, left] = row;
      const remainingMs = Number(left);
      // An owner without a fence is a ticket for which the key is kept.
      if (typeof owner !== "string" || typeof fence !== "string" || !(remainingMs > 0)) {
        return { lock: undefined, counter: BigInt(counter ?? 0) };
      }
      return { lock: { owner, fence: BigInt(fence), remainingMs }, counter: BigInt(counter ?? 0) };
    },

    async list({ prefix, cursor, pageSize }: ListRequest): Promise<ListPage> {
      const begin = bytesOf(prefix);
      const rows = await askTable(statements.list, [begin, bytesOf(cursor ?? ""), pageSize]);
      const page = rows.map(([key, live]) => ({ key: Buffer.from(key ?? "", "hex"), live: live === "1" }));
      const inside = page.filter(({ key }) => key.subarray(0, begin.length).equals(begin));
      const more = inside.length === rows.length && rows.length === pageSize;
      return {
        keys: inside.filter(({ live }) => live).map(({ key }) => key.toString("utf8")),
        next: more ? inside.at(-1)?.key.toString("utf8") : undefined,
      };
    },

    async lift(key: string, token: bigint): Promise<bigint> {
      const values = [bytesOf(key), token.toString(), retention];
      try {
        const [row] = await ask(statements.lift, values);
        return BigInt(row?.[0] ?? 0);
      } catch (error) {
        if (stateOf(causeOf(error)) !== UNDEFINED_TABLE) throw error;
        await makeTable();
        const [row] = await ask(statements.lift, values);
        return BigInt(row?.[0] ?? 0);
      }
    },

    look,

    async swapMark(from: string | undefined, to: string): Promise<boolean> {
      const rows =
        from === undefined
          ? await askTable(statements.firstMark, [to])
          : await askTable(statements.swapMark, [to, from]);
      return rows.length > 0;
    },

    async examine(): Promise<Examination> {
      const [row] = await ask(statements.examine, [table]);
      return examination(row ?? [], table);
    },

    watch: inbox.watch,

    async leave(key: string, ticket: string): Promise<void> {
      const address = inbox.address(ticket);
      inbox.left(ticket);
      if (!isLined || address === undefined) return;
      await askTable(statements.leave, [bytesOf(key), address]);
    },

    async close(): Promise<void> {
      inbox.close();
      sweeper.stop();
      batch.flush();
      lanes.leave();
    },
  };
}

function bytesOf(key: string): Buffer {
  return Buffer.from(key, "utf8");
}

function textOf(hex: string): string {
  return Buffer.from(hex, "hex").toString("utf8");
}

/** What the server said. */
function causeOf(error: unknown): unknown {
  return error instanceof BackendError ? error.cause : error;
}

function wordsOf(error: unknown): string {
  const cause = causeOf(error);
  return cause instanceof Error ? cause.message : String(cause);
}
