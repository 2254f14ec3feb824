/**
 * The locker's end of one backend: requests in flight are counted and bounded, faults are typed, and what must still
 * reach the backend (a release after a lost reply, a join) is owed and sent again until it was answered.
 */
import type {
  Backend,
  BackendIdentity,
  BackendSession,
  Deployment,
  Listener,
  PromptAnswer,
} from "../backend.js";
import { elapsedMs, type Instant, type System, type Timer } from "../engine/time.js";
import { BackendError, type BackendErrorCode } from "../errors.js";
import type { Reporter } from "./events.js";
import { createSilence } from "./silence.js";

/** So many debts are remembered; beyond it the oldest is dropped, which its TTL makes harmless. */
const DEBTS_MAX = 1_024;
const DEBTS_AT_ONCE = 16;
/** No answer is unusually late before that, in milliseconds. */
const UNUSUAL_MS = 100;
/** None of a backend that has not answered yet, to whom tries once: it may be far away, and a connection that begins takes several round trips. */
const UNKNOWN_MS = 1_000;
/** By how much what a backend took at its slowest fades with every answer. */
const FADING = 0.95;
const REPAY_DELAY_MS_MIN = 50;
const REPAY_DELAY_MS_MAX = 1_000;
/** Faults that concern one key and say nothing of the backend. */
const OF_ONE_KEY: ReadonlySet<BackendErrorCode> = new Set(["BACKEND_WRONG_TYPE", "BACKEND_COUNTER_BROKEN"]);

/** Something that a backend must still be told. */
export interface Debt {
  /** Two debts with the same id are one, unless {@link Debt.anew}. */
  readonly id: string;
  /** What happened since it was last sent may have undone it: it is sent once more even if that is not answered yet. */
  readonly anew?: boolean;
  /** When it no longer matters. */
  readonly until: Instant;
  readonly pay: (session: BackendSession) => Promise<unknown>;
  readonly paid?: () => void;
}

/**
 * What one or several backends are asked. For each of them exactly one of the two is called, later; they are told by whom, so
 * that whoever asks all needs nothing for each.
 */
export interface Question<T> {
  ask(session: BackendSession): Promise<T>;
  onReply(reply: T, link: Link): void;
  onFault(fault: BackendError, link: Link): void;
}

/** One backend, as the locker uses it. */
export interface Link {
  readonly index: number;
  readonly backend: Backend;
  /** Who answered last; undefined before the first answer. */
  identity: BackendIdentity | undefined;
  /** Another backend of the set that turned out to be the same server, and votes instead of this one. */
  twin: Link | undefined;
  /** Asks the backend, and tells the question what comes of it, unless the backend never settles it. */
  ask<T>(question: Question<T>): void;
  /** As {@link Link.ask}, for what has no object of its own. */
  send<T>(
    call: (session: BackendSession) => Promise<T>,
    onReply: (reply: T) => void,
    onFault: (fault: BackendError) => void,
  ): void;
  /** Takes note that a request to it was not answered in time. */
  timedOut(fault: BackendError): void;
  /** Tells the backend, again and again until it answered or the debt no longer matters. */
  owe(debt: Debt): void;
  /** Whether it calls those who wait. */
  readonly calls: boolean;
  /** Hears whom it calls; see `BackendSession.watch`. Returns how to stop. */
  watch(listener: (ticket: string, inMs: number) => void): () => void;
  /** How many requests are unanswered. */
  inFlight(): number;
  /**
   * In how many milliseconds from `now` it will have owed an answer for unusually long: {@link UNUSUAL_MS}, and twice what it took
   * of late; `triesOnce`: {@link UNKNOWN_MS} where it never answered, since there is no next attempt that knows better. Not positive when
   * it has. Advice: a process that was stalled has not read what is there.
   */
  unusualInMs(now: Instant, triesOnce: boolean): number;
  /** Sends what is owed once more and closes the session; bounded by `withinMs`. */
  close(withinMs: number): Promise<void>;
}

/** What a link needs of its locker. */
export interface LinkContext {
  readonly deployment: Deployment;
  readonly system: System;
  readonly reporter: Reporter;
  /** How long a backend may be silent before requests to it are bounded, in milliseconds. */
  readonly silenceMs: number;
}

/** What a link does with what comes of all that it sent. */
interface Post {
  answered<T>(question: Question<T>, sentAt: Instant | undefined, reply: T): void;
  failed<T>(question: Question<T>, error: unknown): void;
}

/** One request that is not answered yet. */
class Sent<T> implements Listener<T> {
  readonly #post: Post;
  readonly #question: Question<T>;
  /** Where its time is taken. */
  readonly #sentAt: Instant | undefined;

  constructor(post: Post, question: Question<T>, sentAt: Instant | undefined) {
    this.#post = post;
    this.#question = question;
    this.#sentAt = sentAt;
  }

  answered(reply: T): void {
    this.#post.answered(this.#question, this.#sentAt, reply);
  }

  failed(error: unknown): void {
    this.#post.failed(this.#question, error);
  }
}

/** Opens a backend. */
export function createLink(backend: Backend, index: number, context: LinkContext): Link {
  const { system, reporter } = context;
  const session = backend.open(context.deployment);
  const silence = createSilence(system, context.silenceMs);
  /** One for each time of silence: there may be thousands of refusals, and making an error costs more than a send. */
  let silentFault: BackendError | undefined;
  const debts = new Map<string, Debt>();
  let inFlight = 0;
  /** Who waits for the answers to all that is in flight. */
  let whenAnswered: (() => void) | undefined;
  /** When the first request was sent behind the last answer. */
  let owedSince: Instant | undefined;
  /** Nothing was sent behind the last answer, so that the next request is one whose time is taken. */
  let untimed = true;
  let slowMs: number | undefined;
  let healthy: boolean | undefined;
  let closed = false;
  let repaying: Timer | undefined;
  let repayDelayMs = REPAY_DELAY_MS_MIN;

  function ask<T>(question: Question<T>): void {
    if (silence.refuses(inFlight)) {
      silentFault ??= silent();
      const fault = silentFault;
      void Promise.resolve().then(() => question.onFault(fault, link));
      return;
    }
    silence.sent();
    // Its own time, since between two answers of a busy link there is next to none.
    const sentAt = untimed ? system.now() : undefined;
    untimed = false;
    owedSince ??= sentAt;
    inFlight++;
    const sent = new Sent(post, question, sentAt);
    let answer: Promise<T> & Partial<PromptAnswer<T>>;
    try {
      answer = question.ask(session);
    } catch (error) {
      answer = Promise.reject<T>(typed(error));
    }
    // Told at once where the answer can do that.
    if (answer.tell !== undefined) answer.tell(sent);
    else
      answer.then(
        (reply) => sent.answered(reply),
        (error: unknown) => sent.failed(error),
      );
  }

  /** What comes of everything that is sent. */
  const post: Post = {
    answered(question, sentAt, reply) {
      landed();
      silence.answered();
      if (sentAt !== undefined) slowMs = Math.max(elapsedMs(sentAt, system.now()), FADING * (slowMs ?? 0));
      owedSince = undefined;
      untimed = true;
      silentFault = undefined;
      if (healthy !== true) becameHealthy();
      try {
        question.onReply(reply, link);
      } catch (error) {
        // An answer outside the contract must not end the process; what it was about ends with its deadline.
        question.onFault(typed(error), link);
      }
    },
    failed(question, error) {
      landed();
      const fault = typed(error);
      // What the close of the session ends is no fault of the backend.
      if (healthy !== false && !closed && !OF_ONE_KEY.has(fault.code)) becameFaulty(fault);
      question.onFault(fault, link);
    },
  };

  function send<T>(
    call: (session: BackendSession) => Promise<T>,
    onReply: (reply: T) => void,
    onFault: (fault: BackendError) => void,
  ): void {
    ask({ ask: call, onReply, onFault });
  }

  function landed(): void {
    if (--inFlight > 0) return;
    owedSince = undefined;
    untimed = true;
    whenAnswered?.();
  }

  function silent(): BackendError {
    const what = `${inFlight} requests to it are unanswered, no more are sent`;
    return new BackendError("BACKEND_SILENT", { backend: backend.name, what });
  }

  function typed(error: unknown): BackendError {
    if (error instanceof BackendError) return error;
    const what = error instanceof Error ? error.message : String(error);
    return new BackendError("BACKEND_REFUSED", { backend: backend.name, what }, error);
  }

  function becameHealthy(): void {
    const recovered = healthy === false;
    healthy = true;
    if (recovered) reporter.emit("backendRecovered", () => ({ backend: backend.name }));
    if (debts.size > 0) repaySoon(0);
  }

  function becameFaulty(error: BackendError): void {
    healthy = false;
    reporter.emit("backendFault", () => ({ backend: backend.name, error }));
  }

  function owe(debt: Debt): void {
    const known = debts.has(debt.id);
    if (closed || (known && debt.anew !== true)) return;
    if (!known && debts.size >= DEBTS_MAX) {
      for (const oldest of debts.keys()) {
        debts.delete(oldest);
        break;
      }
    }
    debts.set(debt.id, debt);
    if (healthy === false) repaySoon(repayDelayMs);
    else pay(debt);
  }

  function repaySoon(delayMs: number): void {
    if (closed || (repaying !== undefined && delayMs > 0)) return;
    if (repaying !== undefined) system.cancelTimer(repaying);
    repaying = system.startTimer("watch", delayMs, () => {
      repaying = undefined;
      repay();
    });
  }

  function repay(): void {
    const now = system.look();
    let sent = 0;
    for (const debt of debts.values()) {
      if (now >= debt.until) debts.delete(debt.id);
      else if (sent++ < DEBTS_AT_ONCE) pay(debt);
    }
  }

  function pay(debt: Debt): void {
    send(
      debt.pay,
      () => {
        if (debts.get(debt.id) === debt) debts.delete(debt.id);
        repayDelayMs = REPAY_DELAY_MS_MIN;
        debt.paid?.();
        if (debts.size > 0) repaySoon(REPAY_DELAY_MS_MIN);
      },
      (fault) => {
        repayDelayMs = Math.min(repayDelayMs * 2, REPAY_DELAY_MS_MAX);
        if (debts.get(debt.id) === debt) {
          debts.delete(debt.id);
          // A key that holds something else holds no lock of ours; whatever else failed goes to the end of the line.
          if (!OF_ONE_KEY.has(fault.code)) debts.set(debt.id, debt);
        }
        if (debts.size > 0) repaySoon(repayDelayMs);
      },
    );
  }

  const link: Link = {
    index,
    backend,
    identity: undefined,
    twin: undefined,
    ask,
    send,
    timedOut(fault: BackendError): void {
      if (healthy !== false) becameFaulty(fault);
    },
    owe,
    calls: session.watch !== undefined,
    watch: (listener) => session.watch?.(listener) ?? (() => undefined),
    inFlight: () => inFlight,
    unusualInMs(now, triesOnce): number {
      const isUnknown = slowMs === undefined && triesOnce;
      const unusualMs = isUnknown ? UNKNOWN_MS : Math.max(UNUSUAL_MS, 2 * (slowMs ?? 0));
      return unusualMs - (owedSince === undefined ? 0 : elapsedMs(owedSince, now));
    },
    async close(withinMs: number): Promise<void> {
      if (closed) return;
      const owing = inFlight > 0 || debts.size > 0;
      if (owing && healthy !== false) await within(system, withinMs, lastAnswers().then(lastPayment));
      closed = true;
      if (repaying !== undefined) system.cancelTimer(repaying);
      silence.stop();
      debts.clear();
      await within(system, withinMs, session.close()).catch(() => undefined);
    },
  };
  return link;

  /**
   * A release that others have answered already may be under way here, and a connection that ends now would keep it from being sent
   * once more with the text of its script.
   */
  function lastAnswers(): Promise<void> {
    if (inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      whenAnswered = resolve;
    });
  }

  function lastPayment(): Promise<unknown> {
    const payments = [...debts.values()].slice(0, DEBTS_AT_ONCE).map(
      (debt) =>
        new Promise<void>((resolve) => {
          send(
            debt.pay,
            () => resolve(),
            () => resolve(),
          );
        }),
    );
    return Promise.all(payments);
  }
}

/** Resolves with the promise, or without it after `withinMs`. */
export function within<T>(system: System, withinMs: number, promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = system.startTimer("work", withinMs, () => resolve(undefined));
    promise.then(
      (value) => {
        system.cancelTimer(timer);
        resolve(value);
      },
      (error: unknown) => {
        system.cancelTimer(timer);
        reject(error);
      },
    );
  });
}
