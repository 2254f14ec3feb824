/**
 * Operations that are asked for in one turn of the event loop travel as one call. A single one travels alone, and at
 * once: nothing waits for company.
 */
import type { BackendError } from "../../errors.js";
import { texts, type Caller } from "./call.js";
import { BATCH, BATCHED } from "./scripts.js";
import type { Known, ServerMark } from "./server-mark.js";

/** One operation on its way. */
export interface Entry {
  readonly kind: keyof typeof BATCHED;
  readonly lock: string;
  readonly counter: string;
  readonly args: readonly string[];
  /** Sends it by itself. */
  alone(): void;
  /** Takes the answer that the server gave under `known`. */
  settle(answer: string, known: Known): void;
  fail(fault: BackendError): void;
}

/** Collects what is asked for in one turn. */
export interface Batch {
  add(entry: Entry): void;
  /** Sends what was collected, now. */
  flush(): void;
}

/** What a batch needs of its session. */
export interface BatchContext {
  readonly call: Caller;
  readonly mark: ServerMark;
  readonly markKey: string;
  /** The header of a marked script; see scripts.ts. */
  readonly header: (known: Known) => readonly string[];
}

/** So many operations in one call: a server serves nobody else meanwhile, and a hundred take it about half a millisecond. */
const BATCH_MAX = 100;

/** Nothing collected yet. */
export function createBatch(context: BatchContext): Batch {
  const { call, mark, markKey } = context;
  let collected: Entry[] = [];

  function flush(): void {
    if (collected.length === 0) return;
    const entries = collected;
    collected = [];
    const known = mark.fresh();
    if (known === undefined || entries.length === 1) {
      for (const entry of entries) entry.alone();
      return;
    }
    mark.relearnWhenDue(known);
    for (let from = 0; from < entries.length; from += BATCH_MAX) {
      send(entries.slice(from, from + BATCH_MAX), known);
    }
  }

  function send(entries: readonly Entry[], known: Known): void {
    const keys = [markKey];
    const args = [...context.header(known)];
    for (const { kind, lock, counter, args: own } of entries) {
      keys.push(lock, counter);
      args.push(BATCHED[kind], ...own);
    }
    call.run(BATCH, keys.length, keys.concat(args)).then(
      (reply) => {
        const answers = texts(reply);
        entries.forEach((entry, i) => {
          const answer = answers[i] ?? "";
          if (answer.startsWith("!")) entry.fail(call.fault(replyError(answer.slice(1))));
          else entry.settle(answer, known);
        });
      },
      (error: unknown) => {
        const fault = call.fault(error);
        for (const entry of entries) entry.fail(fault);
      },
    );
  }

  return {
    add(entry: Entry): void {
      // Behind everything that this turn still does, and ahead of the next: `nextTick` runs when its promises have settled.
      if (collected.push(entry) === 1) process.nextTick(flush);
    },
    flush,
  };
}

/** What one operation of a batch raised, in the form in which a client reports the error of a whole script. */
function replyError(text: string): Error {
  const error = new Error(text);
  error.name = "ReplyError";
  return error;
}
