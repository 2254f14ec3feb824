/**
 * Operations that are asked for in one turn of the event loop travel as one call, as soon as more than one was. Nothing
 * waits for company: who is alone is sent at once.
 */
import { atEndOfTurn } from "../shared/end-of-turn.js";
import type { Caller } from "./call.js";
import { BATCHED, type Script } from "./scripts.js";
import type { Known, ServerMark } from "./server-mark.js";

/** One step to one key. */
export interface Operation<T> {
  readonly kind: keyof typeof BATCHED;
  readonly lock: string;
  /** Undefined where it is not touched. */
  readonly counter: string | undefined;
  /** Only the last one may have blanks or line breaks in it; with the latter it does not travel with others. */
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

/** What one turn asks for. */
interface Crowd {
  readonly operations: Operation<unknown>[];
  /**
   * Resolves when it is answered, to what each of them comes to, by its place; throws where that is a fault. One promise for all: what a
   * busy process has most of are promises.
   */
  readonly outcomes: Promise<Outcomes>;
  readonly resolve: (outcomes: Outcomes | Promise<Outcomes>) => void;
}

type Outcomes = (place: number) => unknown;

/** So many operations in one call: a server serves nobody else meanwhile, a quarter of a millisecond; and while it does, the client reads the answers to the call before. */
const BATCH_MAX = 64;
/** With fewer requests unanswered, it is a process that does one thing after the other. */
const UNANSWERED_MIN = 2;

/** Nothing collected yet. */
export function createBatch(context: BatchContext): Batch {
  const { call, mark, markKey, script, alone } = context;
  let collected: Crowd | undefined;
  /** The last turn had more than one. */
  let crowded = false;
  /** This turn had so many that a call of them went ahead. */
  let overfull = false;

  function flush(): void {
    if (collected === undefined) return;
    const { operations, resolve } = collected;
    collected = undefined;
    crowded = operations.length > 1 || overfull;
    overfull = false;
    const known = mark.fresh();
    if (known === undefined || operations.length === 1) {
      const sent = operations.map((operation) => alone(operation));
      resolve((place) => sent[place]);
      return;
    }
    mark.relearnWhenDue(known);
    resolve(send(operations, known));
  }

  function send(operations: readonly Operation<unknown>[], known: Known): Promise<Outcomes> {
    const keys = [markKey];
    let lines = "";
    for (const { kind, lock, counter, args } of operations) {
      keys.push(lock);
      if (counter !== undefined) keys.push(counter);
      lines += `${BATCHED[kind]}${args.length === 1 ? args[0] : args.join(" ")}\n`;
    }
    const args = [known.mark, known.quarantinedUntil, lines];
    return call.run(script, keys, args, (reply) => {
      const answers = String(reply).split("\n");
      // Nobody may take the answer of another.
      if (answers.length !== operations.length)
        throw call.fault(replyError("another number of answers than operations"));
      return (place) => outcome(operations[place], answers[place] ?? "", known);
    });
  }

  function outcome(operation: Operation<unknown> | undefined, answer: string, known: Known): unknown {
    if (answer === OTHER_MARK && operation !== undefined) {
      mark.forget(known);
      return alone(operation);
    }
    if (answer.startsWith("!")) throw call.fault(replyError(answer.slice(1)));
    return operation?.read(answer, known);
  }

  return {
    takes: ({ args }) =>
      (crowded || collected !== undefined || call.unanswered() >= UNANSWERED_MIN) &&
      args.at(-1)?.includes("\n") === false,
    add<T>(operation: Operation<T>): Promise<T> {
      if (collected === undefined) {
        collected = gather();
        atEndOfTurn(flush);
      }
      const { operations, outcomes } = collected;
      const place = operations.push(operation) - 1;
      if (operations.length === BATCH_MAX) {
        flush();
        overfull = true;
      }
      return outcomes.then((of) => of(place) as T | Promise<T>);
    },
    flush,
  };
}

function gather(): Crowd {
  let resolve: Crowd["resolve"] = () => undefined;
  const outcomes = new Promise<Outcomes>((settle) => {
    resolve = settle;
  });
  return { operations: [], outcomes, resolve };
}

/** What a script answers that was called under another mark than the server has. */
export const OTHER_MARK = "m";

/** What one operation of a batch raised, in the form in which a client reports the error of a whole script. */
function replyError(text: string): Error {
  const error = new Error(text);
  error.name = "ReplyError";
  return error;
}
