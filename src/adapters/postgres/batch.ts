/** Operations that travel as one statement: who may, what they ask, and what becomes of a statement that failed. */
import { BackendError } from "../../errors.js";
import type { Lanes } from "../shared/lanes.js";
import type { KnownMark, OtherMark } from "../shared/marked-session.js";
import { createTurns, type Asked } from "../shared/turns.js";
import type { PostgresLane, Row } from "./connection.js";
import { stateOf } from "./faults.js";
import type { RowStatements } from "./row-statements.js";

/** A connection: one that is free, or the one that was given. */
export type Via = <T>(work: (lane: PostgresLane) => Promise<T>) => Promise<T>;

/** A step to one key. */
export interface Operation<T> {
  readonly kind: keyof RowStatements;
  readonly key: string;
  /** Under which it may act; undefined: under any. */
  readonly mark: KnownMark | undefined;
  /** What it puts into the arrays behind those of the keys; of an acquire the owner and the TTL are the first. */
  readonly values: readonly (string | number)[];
  /** By itself, which always does. */
  alone(via: Via): Promise<T>;
  /** What the answer means, which is as that of a statement for one key, or none. Undefined: it has to go by itself. */
  read(answer: string | undefined): T | undefined;
}

/** What it needs. */
export interface BatchOptions {
  readonly name: string;
  readonly lanes: Lanes<PostgresLane>;
  readonly statements: RowStatements;
  /** What stands behind the arrays, for each kind. */
  readonly figures: Readonly<Record<keyof RowStatements, readonly number[]>>;
  readonly worked: (key: string) => void;
  /** Hears why a statement failed whose operations now go by themselves. */
  readonly undone: (error: unknown) => void;
}

/** Collects the operations of a turn. */
export interface Batch {
  add<T>(operation: Operation<T>): Promise<T>;
  /** Sends what was collected, now. */
  flush(): void;
}

/** As many take a server some milliseconds, in which the rows that it has written are locked. */
const BATCH_MAX = 128;
const OTHER_MARK: OtherMark = { kind: "other-mark" };
/** The server ends, or the session: whether something was done before is not sure. */
const ENDING = /^57P/;

/** Nothing collected yet. */
export function createBatch({ name, lanes, statements, figures, worked, undone }: BatchOptions): Batch {
  const anyLane: Via = (work) => lanes.use(name, work);
  const turns = createTurns<Operation<unknown>, PostgresLane>({
    max: BATCH_MAX,
    use: anyLane,
    fits: (first, other) => first.kind === other.kind && first.mark === other.mark,
    // A row is written once by a statement; of those who want a lock the first is granted it, and the others are told.
    once: ({ kind, key }) => (kind === "acquire" ? undefined : key),
    async run(lane, asked) {
      const [first] = asked;
      if (first === undefined) return;
      if (asked.length === 1) await aloneVia((work) => work(lane), first);
      else await together(lane, asked);
    },
  });

  function aloneVia(via: Via, { op, resolve, reject }: Asked<Operation<unknown>>): Promise<void> {
    return op.alone(via).then(resolve, reject);
  }

  async function together(lane: PostgresLane, asked: readonly Asked<Operation<unknown>>[]): Promise<void> {
    const { kind, mark, key } = (asked[0] as Asked<Operation<unknown>>).op;
    if (mark !== undefined && lane.origin !== mark.origin) {
      for (const { resolve } of asked) resolve(OTHER_MARK);
      return;
    }
    let rows: readonly Row[];
    try {
      rows = await lane.run(name, statements[kind], valuesOf(asked, figures[kind]));
    } catch (error) {
      // The statement of nobody else shall fail for one of them, and a server undoes the whole of a statement.
      if (!isUndone(error)) throw error;
      undone(error);
      for (const each of asked) void aloneVia(anyLane, each);
      return;
    }
    worked(key);
    settle(rows, asked);
  }

  function settle([ofMark, ...rows]: readonly Row[], asked: readonly Asked<Operation<unknown>>[]): void {
    const state = ofMark?.[1] ?? "";
    const answers = answersIn(rows, asked);
    asked.forEach((each, i) => {
      const { op, resolve, reject } = each;
      if (state === "m") {
        resolve(OTHER_MARK);
        return;
      }
      try {
        const read = op.read(answers[i] ?? (state === "" ? undefined : state));
        if (read === undefined) void aloneVia(anyLane, each);
        else resolve(read);
      } catch (error) {
        reject(error);
      }
    });
  }

  return turns;
}

/** The answer to each: by its place, or by its key where the key was granted to the first who wanted it. */
function answersIn(
  rows: readonly Row[],
  asked: readonly Asked<Operation<unknown>>[],
): readonly (string | undefined)[] {
  const texts = new Map(rows.map(([place, text]) => [place, text ?? undefined]));
  const winners = new Map<string, Operation<unknown>>();
  return asked.map(({ op }, i) => {
    const own = texts.get(String(i + 1));
    if (own !== undefined || op.kind !== "acquire") return own;
    const granted = texts.get(grantOf(op.key));
    if (granted === undefined) return undefined;
    const winner = winners.get(op.key);
    if (winner === undefined) winners.set(op.key, op);
    const [owner, ttlMs] = winner?.values ?? op.values;
    return owner === op.values[0] ? granted : `h${ttlMs}`;
  });
}

/** Keys, the mark where there is one, the arrays, and the figures of the deployment. */
function valuesOf(asked: readonly Asked<Operation<unknown>>[], figures: readonly number[]): unknown[] {
  const { mark, values } = (asked[0] as Asked<Operation<unknown>>).op;
  const keys = asked.map(({ op }) => Buffer.from(op.key, "utf8"));
  const columns = values.map((_, column) => asked.map(({ op }) => op.values[column]));
  const marks = mark === undefined ? [] : [mark.text, mark.quarantinedUntil];
  return [keys, ...marks, ...columns, ...figures];
}

/** The name of the answer that grants a key: digits alone would be a place. */
function grantOf(key: string): string {
  return `k${Buffer.from(key, "utf8").toString("hex")}`;
}

/** Whether the server said that the statement failed, which it undid as a whole. */
function isUndone(error: unknown): boolean {
  const state = stateOf(error instanceof BackendError ? error.cause : error);
  return state !== undefined && !ENDING.test(state);
}
