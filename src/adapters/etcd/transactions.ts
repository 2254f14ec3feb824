/**
 * Transactions of one turn travel as one. Reads: one transaction that reads all their keys. Writes: one whose parts are
 * transactions themselves, each with its own comparison, so that one in conflict leaves the others alone. (A transaction that
 * only reads, as a part, would make the whole one a write.)
 */
import { BackendError } from "../../errors.js";
import { createTurns, type Asked } from "../shared/turns.js";
import { createWays } from "../shared/ways.js";
import type { EtcdHeader, EtcdKeyValue, EtcdLike } from "./client.js";
import { isLeaseGone } from "./faults.js";
import type { Call } from "./leases.js";

/** A transaction that writes where its comparison holds. */
export interface Write {
  /** The lock that it is about; one transaction writes a key once. */
  readonly key: string;
  readonly compare: readonly object[];
  readonly success: readonly object[];
}

/** What was found of several keys, all at one revision. */
export interface Found {
  readonly header: EtcdHeader;
  readonly found: readonly (EtcdKeyValue | undefined)[];
}

/** Transactions on one connection. */
export interface Transactions {
  /** Through the quorum of the cluster. */
  read(...keys: readonly Buffer[]): Promise<Found>;
  write(write: Write): Promise<"written" | "conflict">;
}

/**
 * etcd takes 128 operations for a transaction (`--max-txn-ops`), the largest list in it and those of its parts together: three keys for
 * each look beside the two of the mark, and some eight comparisons of a part beside the number of parts.
 */
const READS_MAX = 40;
/**
 * So many at once of each sort; who comes when all are under way goes with the next. The calls of one turn are answered in as many
 * turns, so that without it what follows an answer would never meet.
 */
const WAYS_MAX = 4;
const WRITES_MAX = 64;
const TOO_MANY = /too many operations/;
const OF_ONE = /duplicate key|request is too large|message larger than max/;

/** What it needs. */
export interface TransactionsOptions {
  readonly name: string;
  readonly client: EtcdLike;
  readonly call: Call;
  readonly callTimeoutMs: number;
}

/** Nothing asked yet. */
export function createTransactions({ name, client, call, callTimeoutMs }: TransactionsOptions): Transactions {
  /** An etcd that was told to take fewer operations gets one at a time. */
  let isTogether = true;
  const readWays = createWays(WAYS_MAX);
  const writeWays = createWays(WAYS_MAX);
  /** Of an etcd that hangs each way is taken for the time of a call, by as many as are asked together. */
  const waits = {
    msMax: callTimeoutMs,
    refusal(): BackendError {
      const what = `it has been busy with others for ${callTimeoutMs} ms, no more is sent`;
      return new BackendError("BACKEND_SILENT", { backend: name, what });
    },
  };

  const reads = createTurns<readonly Buffer[], undefined>({
    max: READS_MAX,
    use: (work) => readWays(() => work(undefined)),
    fits: () => isTogether,
    once: () => undefined,
    waits,
    async run(_way, asked) {
      if (asked.length === 0) return;
      const keys = new Map(asked.flatMap(({ op }) => op.map((key) => [String(key), key])));
      try {
        const { header, found } = await readAlone([...keys.values()]);
        const values = new Map([...keys.keys()].map((text, i) => [text, found[i]]));
        for (const { op, resolve } of asked) {
          resolve({ header, found: op.map((key) => values.get(String(key))) });
        }
      } catch (error) {
        eachAlone(asked, error, readAlone);
      }
    },
  });

  const writes = createTurns<Write, undefined>({
    max: WRITES_MAX,
    use: (work) => writeWays(() => work(undefined)),
    fits: () => isTogether,
    once: ({ key }) => key,
    waits,
    async run(_way, asked) {
      const [first] = asked;
      if (first === undefined) return;
      if (asked.length === 1) {
        await writeAlone(first.op).then(first.resolve, first.reject);
        return;
      }
      const success = asked.map(({ op: { compare, success: parts } }) => ({
        request_txn: { compare, success: parts },
      }));
      try {
        const { responses } = await call((rpc) => client.kv.txn({ success }, rpc));
        asked.forEach(({ resolve }, i) => {
          resolve(responses[i]?.response_txn?.succeeded === true ? "written" : "conflict");
        });
      } catch (error) {
        eachAlone(asked, error, writeAlone);
      }
    },
  });

  async function readAlone(keys: readonly Buffer[]): Promise<Found> {
    const success = keys.map((key) => ({ request_range: { key } }));
    const { header, responses } = await call((rpc) => client.kv.txn({ success }, rpc));
    return { header, found: keys.map((_, i) => responses[i]?.response_range?.kvs[0]) };
  }

  async function writeAlone({ compare, success }: Write): Promise<"written" | "conflict"> {
    const { succeeded } = await call((rpc) => client.kv.txn({ compare, success }, rpc));
    return succeeded ? "written" : "conflict";
  }

  /** What etcd refused as a whole may have failed for one of them only; where it is not sure to have refused it, all fail. */
  function eachAlone<Op, T>(
    asked: readonly Asked<Op>[],
    error: unknown,
    alone: (op: Op) => Promise<T>,
  ): void {
    if (TOO_MANY.test(wordsOf(error))) isTogether = false;
    const again = asked.length > 1 && isRefused(error);
    for (const { op, resolve, reject } of asked) {
      if (again) alone(op).then(resolve, reject);
      else reject(error);
    }
  }

  return {
    read: (...keys) => reads.add(keys),
    write: (write) => writes.add(write),
  };
}

function isRefused(error: unknown): boolean {
  if (!(error instanceof BackendError)) return false;
  if (error.code === "BACKEND_NO_PERMISSION" || error.code === "BACKEND_OUT_OF_MEMORY") return true;
  const words = wordsOf(error);
  return isLeaseGone(error.cause) || TOO_MANY.test(words) || OF_ONE.test(words);
}

function wordsOf(error: unknown): string {
  const cause = error instanceof BackendError ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}
