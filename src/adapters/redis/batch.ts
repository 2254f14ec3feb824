/**
 * Operations that are asked for in one turn of the event loop travel as one call, as soon as more than one was. Nothing
 * waits for company: who is alone is sent at once.
 */
import { atEndOfTurn } from "../shared/end-of-turn.js";
import { Told } from "../shared/told.js";
import type { Caller } from "./call.js";
import { lineOf, type Operation } from "./operations.js";
import type { Script } from "./scripts.js";
import type { Known, ServerMark } from "./server-mark.js";

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
  /** Its name. */
  readonly backend: string;
  readonly call: Caller;
  readonly mark: ServerMark;
  readonly markKey: string;
  readonly script: Script;
  /** How an operation goes by itself. */
  readonly alone: <T>(operation: Operation<T>) => Promise<T>;
}

/** One that was asked for, which whoever waits is told of. */
class Asked<T> extends Told<T> {
  readonly operation: Operation<T>;

  constructor(operation: Operation<T>) {
    super();
    this.operation = operation;
  }
}

/** So many operations in one call: a server serves nobody else meanwhile, a quarter of a millisecond; and while it does, the client reads the answers to the call before. */
const BATCH_MAX = 64;
/** With fewer requests unanswered, it is a process that does one thing after the other. */
const UNANSWERED_MIN = 2;

/** Nothing collected yet. */
export function createBatch(context: BatchContext): Batch {
  const { backend, call, mark, markKey, script, alone } = context;
  let collected: Asked<unknown>[] = [];
  /** The last turn had more than one. */
  let crowded = false;
  /** This turn had so many that a call of them went ahead. */
  let overfull = false;

  function flush(): void {
    const asked = collected;
    if (asked.length === 0) return;
    collected = [];
    crowded = asked.length > 1 || overfull;
    overfull = false;
    const known = mark.fresh();
    if (known === undefined || asked.length === 1) {
      for (const each of asked) each.follow(alone(each.operation));
      return;
    }
    mark.relearnWhenDue(known);
    send(asked, known);
  }

  function send(asked: readonly Asked<unknown>[], known: Known): void {
    const { keys, text } = writtenTogether(asked);
    const args = [known.mark, known.quarantinedUntil, text];
    call
      .run(script, [markKey, ...keys], args, (reply) => {
        const answers = String(reply).split("\n");
        // Nobody may take the answer of another.
        if (answers.length === asked.length) return answers;
        throw call.fault(replyError("another number of answers than operations"));
      })
      .then(
        (answers) => {
          for (let i = 0; i < asked.length; i++)
            settle(asked[i] as Asked<unknown>, answers[i] as string, known);
        },
        (error: unknown) => {
          for (const each of asked) each.failed(error);
        },
      );
  }

  function settle(asked: Asked<unknown>, answer: string, known: Known): void {
    if (answer === OTHER_MARK) {
      mark.forget(known);
      asked.follow(alone(asked.operation));
      return;
    }
    let meaning: unknown;
    try {
      if (answer.startsWith("!")) throw call.fault(replyError(answer.slice(1)));
      meaning = asked.operation.read(answer, known, backend);
    } catch (error) {
      asked.failed(error);
      return;
    }
    asked.answered(meaning);
  }

  return {
    takes: ({ isLine }) => isLine && (crowded || collected.length > 0 || call.unanswered() >= UNANSWERED_MIN),
    add<T>(operation: Operation<T>): Promise<T> {
      const asked = new Asked(operation);
      if (collected.length === 0) atEndOfTurn(flush);
      if (collected.push(asked as Asked<unknown>) === BATCH_MAX) {
        flush();
        overfull = true;
      }
      return asked;
    },
    flush,
  };
}

/** Several operations as one call has them. */
interface Written {
  readonly operations: readonly Operation<unknown>[];
  readonly keys: readonly string[];
  readonly text: string;
}

/** What was written last: the backends of a quorum are mostly asked the same in a turn. */
let last: Written | undefined;

function writtenTogether(asked: readonly Asked<unknown>[]): Written {
  if (last?.operations.length === asked.length) {
    const { operations } = last;
    if (asked.every(({ operation }, i) => operation === operations[i])) return last;
  }
  const operations = asked.map(({ operation }) => operation);
  const keys: string[] = [];
  let text = "";
  for (const each of operations) {
    keys.push(each.lock);
    if (each.counter !== undefined) keys.push(each.counter);
    text += lineOf(each);
  }
  last = { operations, keys, text };
  return last;
}

/** What a script answers that was called under another mark than the server has. */
export const OTHER_MARK = "m";

/** What one operation of a batch raised, in the form in which a client reports the error of a whole script. */
function replyError(text: string): Error {
  const error = new Error(text);
  error.name = "ReplyError";
  return error;
}
