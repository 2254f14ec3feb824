/**
 * Operations that are asked for in one turn of the event loop travel as one call, as soon as more than one was. Nothing
 * waits for company: who is alone is sent at once.
 */
import type { Caller } from "./call.js";
import { BATCHED, type Script } from "./scripts.js";
import type { Known, ServerMark } from "./server-mark.js";

/** One step to one key. */
export interface Operation<T> {
  readonly kind: keyof typeof BATCHED;
  readonly lock: string;
  /** Undefined where it is not touched. */
  readonly counter: string | undefined;
  /** Only the last one may have line breaks in it, and does not travel with others then. */
  readonly args: readonly string[];
  /** What the answer means that the server gave under `known`. */
  read(answer: string, known: Known): T;
}

/** Collects what is asked for in one turn. */
export interface Batch {
  /** Whether it may travel with others, and is likely not to be alone in its turn, so that collecting is worth its cost. */
  takes(operation: Operation<unknown>): boolean;
  add<T>(operation: Operation<T>): Promise<T>;
  /** Sends what was collected, now. */
  flush(): void;
}

/** What a batch needs of its session. */
export interface BatchContext {
  readonly call: Caller;
  readonly mark: ServerMark;
  readonly markKey: string;
  readonly script: Script;
  /** How an operation goes by itself. */
  readonly alone: <T>(operation: Operation<T>) => Promise<T>;
}

/** An operation on its way. */
interface Entry {
  readonly operation: Operation<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Taken now: tests of users replace timers, and this one among them. */
const { nextTick } = process;
/** So many operations in one call: a server serves nobody else meanwhile, and as many take it about half a millisecond. */
const BATCH_MAX = 128;
/** With fewer requests unanswered, it is a process that does one thing after the other. */
const UNANSWERED_MIN = 2;

/** Nothing collected yet. */
export function createBatch(context: BatchContext): Batch {
  const { call, mark, markKey, script, alone } = context;
  let collected: Entry[] = [];
  /** The last turn had more than one. */
  let crowded = false;

  function flush(): void {
    if (collected.length === 0) return;
    const entries = collected;
    collected = [];
    crowded = entries.length > 1;
    const known = mark.fresh();
    if (known === undefined || entries.length === 1) {
      for (const entry of entries) sendAlone(entry);
      return;
    }
    mark.relearnWhenDue(known);
    for (let from = 0; from < entries.length; from += BATCH_MAX) {
      send(entries.slice(from, from + BATCH_MAX), known);
    }
  }

  function send(entries: readonly Entry[], known: Known): void {
    const keys = [markKey];
    const lines: string[] = [];
    for (const { operation } of entries) {
      keys.push(operation.lock);
      if (operation.counter !== undefined) keys.push(operation.counter);
      lines.push(BATCHED[operation.kind]);
      for (const arg of operation.args) lines.push(arg);
    }
    const args = [known.mark, known.quarantinedUntil, `${lines.join("\n")}\n`];
    const settleAll = (reply: unknown): void => {
      const answers = String(reply).split("\n");
      // Nobody may take the answer of another.
      if (answers.length !== entries.length)
        throw call.fault(replyError("another number of answers than operations"));
      entries.forEach((entry, i) => settle(entry, answers[i] ?? "", known));
    };
    call.run(script, keys, args, settleAll).catch((fault: unknown) => {
      for (const { reject } of entries) reject(fault);
    });
  }

  function settle(entry: Entry, answer: string, known: Known): void {
    const { operation, resolve, reject } = entry;
    if (answer === OTHER_MARK) {
      mark.forget(known);
      sendAlone(entry);
    } else if (answer.startsWith("!")) reject(call.fault(replyError(answer.slice(1))));
    else {
      try {
        resolve(operation.read(answer, known));
      } catch (error) {
        reject(error);
      }
    }
  }

  function sendAlone({ operation, resolve, reject }: Entry): void {
    alone(operation).then(resolve, reject);
  }

  return {
    takes: ({ args }) =>
      (crowded || collected.length > 0 || call.unanswered() >= UNANSWERED_MIN) &&
      args.at(-1)?.includes("\n") === false,
    add<T>(operation: Operation<T>): Promise<T> {
      return new Promise((resolve, reject) => {
        const entry: Entry = { operation, resolve: resolve as Entry["resolve"], reject };
        // Behind everything that this turn still does, and ahead of the next: `nextTick` runs when its promises have settled.
        if (collected.push(entry) === 1) nextTick(flush);
      });
    },
    flush,
  };
}

/** What a script answers that was called under another mark than the server has. */
export const OTHER_MARK = "m";

/** What one operation of a batch raised, in the form in which a client reports the error of a whole script. */
function replyError(text: string): Error {
  const error = new Error(text);
  error.name = "ReplyError";
  return error;
}
