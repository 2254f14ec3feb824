/**
 * A backend behind a bad network, in a process that can die and hang. Every fault can be switched while requests are
 * on their way. Works on any backend, with the real clock or under virtual time.
 */
import type { Backend, BackendSession, Deployment } from "../backend.js";
import { BackendError, InvalidOptionError } from "../errors.js";

/** How long a message travels in each direction, in milliseconds: uniform between the two bounds. */
export interface NetworkDelay {
  /** From the caller to the backend. Requests with different delays overtake one another. */
  readonly toMs: readonly [min: number, max: number];
  /** From the backend to the caller. */
  readonly backMs: readonly [min: number, max: number];
}

/** The operations of a session that travel. */
export type Operation = Exclude<keyof BackendSession, "close" | "watch">;

/** How often each operation was called, whatever became of it. */
export type CallCounts = { readonly [Name in Operation]: number };

/** Options of {@link faulty}. */
export interface FaultyOptions {
  /** Default: a timer of this process. Under virtual time: that time's `sleep`. */
  readonly sleep?: (ms: number) => Promise<void>;
  /** Uniform in [0, 1). Default `Math.random`. */
  readonly random?: () => number;
  /** Awaited before a caller learns anything; a virtual process's `awake`, so that a suspended one hears nothing. */
  readonly receive?: () => Promise<void>;
}

/**
 * A backend with faults. They concern the link of this wrapper: two wrappers of one backend are two links to it, for
 * instance of two processes of which one is cut off.
 */
export interface FaultyBackend extends Backend {
  /**
   * The process behind it is gone: what is pending fails at once with `BACKEND_DISCONNECTED`, every later call with
   * `BACKEND_NOT_CONNECTED`. Its memory stays as it is.
   */
  kill(): void;
  /** After {@link FaultyBackend.kill}: a new process, that runs. What was on its way to the old one never arrives. */
  revive(): void;
  /** The process stops: requests arrive, wait, and nobody gets an answer. */
  hang(): void;
  /** After {@link FaultyBackend.hang}: the requests that waited are executed in the order in which they arrived. */
  resume(): void;
  setDelay(delay: NetworkDelay): void;
  /** From now on a request never arrives with this probability. Its caller never hears of it. */
  loseRequests(probability: number): void;
  /** From now on a reply never comes with this probability, though the request was executed. */
  loseReplies(probability: number): void;
  /** From now on a request is executed once more with this probability, `afterMs` after it was sent. */
  duplicate(probability: number, afterMs: number): void;
  /** Every request that arrives is answered with this error and not executed, until called with `undefined`. */
  refuse(error: Error | undefined): void;
  readonly calls: CallCounts;
}

const NO_CALLS: CallCounts = {
  acquire: 0,
  raise: 0,
  extend: 0,
  release: 0,
  forceRelease: 0,
  inspect: 0,
  status: 0,
  bootstrap: 0,
  join: 0,
  list: 0,
  lift: 0,
  quarantine: 0,
  examine: 0,
  leave: 0,
};

/** Of one caller that waits. */
interface Pending {
  readonly reject: (error: Error) => void;
  readonly settle: (how: () => void) => void;
}

/**
 * `backend`, with faults; none at first. A call whose request or reply gets lost stays pending until `kill()` or
 * `close()`: bounding it is the caller's part, as with a real network. A request that waits in a hung process, or that
 * is still on its way, is executed even when its session was closed meanwhile.
 *
 * @example
 * ```ts
 * import { memory } from "quorum-lock/memory";
 * import { faulty } from "quorum-lock/testing";
 *
 * const backend = faulty(memory());
 * backend.setDelay({ toMs: [1, 5], backMs: [1, 5] });
 * backend.hang();
 * ```
 */
export function faulty(backend: Backend, options: FaultyOptions = {}): FaultyBackend {
  const sleep = options.sleep ?? realSleep;
  const random = options.random ?? Math.random;
  const receive = options.receive;
  const pending = new Set<Pending>();
  let calls = NO_CALLS;
  let delay: NetworkDelay = { toMs: [0, 0], backMs: [0, 0] };
  let [requestLoss, replyLoss, duplicates, duplicateAfterMs] = [0, 0, 0, 0];
  let refusal: Error | undefined;
  let dead = false;
  /** Counts deaths: what was sent before one does not arrive after it. */
  let life = 0;
  /** What waits in the hung process; undefined while it runs. */
  let waiting: (() => void)[] | undefined;

  const happens = (probability: number): boolean => probability > 0 && random() < probability;

  async function travel([min, max]: readonly [number, number]): Promise<void> {
    const ms = max > min ? min + random() * (max - min) : min;
    if (ms > 0) await sleep(ms);
  }

  /** Executes it when the process runs, or never. */
  function arrive<T>(sentInLife: number, execute: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const act = (): void => {
        if (dead || life !== sentInLife) return;
        if (refusal === undefined) execute().then(resolve, reject);
        else reject(refusal);
      };
      if (waiting === undefined) act();
      else waiting.push(act);
    });
  }

  /** Settles the caller's promise, unless something gets lost. */
  async function carry<T>(
    call: Pending,
    execute: () => Promise<T>,
    resolve: (reply: T) => void,
  ): Promise<void> {
    const sentInLife = life;
    if (happens(duplicates)) {
      void sleep(duplicateAfterMs)
        .then(() => arrive(sentInLife, execute))
        .catch(ignore);
    }
    if (happens(requestLoss)) return;
    await travel(delay.toMs);
    const outcome = await arrive(sentInLife, execute).then(
      (reply) => () => resolve(reply),
      (error: Error) => () => call.reject(error),
    );
    if (happens(replyLoss)) return;
    await travel(delay.backMs);
    if (receive !== undefined) await receive();
    call.settle(outcome);
  }

  function failAll(calls: ReadonlySet<Pending>, what: string): void {
    for (const call of calls) {
      const error = new BackendError("BACKEND_DISCONNECTED", { backend: backend.name, what });
      void (receive?.() ?? Promise.resolve()).then(() => call.settle(() => call.reject(error)));
    }
  }

  function notConnected(what: string): BackendError {
    return new BackendError("BACKEND_NOT_CONNECTED", { backend: backend.name, what });
  }

  /** A call travels, and is lost, as a reply does. */
  function watch(inner: BackendSession, listener: (ticket: string, inMs: number) => void): () => void {
    const stop = inner.watch?.((ticket, inMs) => {
      if (dead || waiting !== undefined || happens(replyLoss)) return;
      const sentInLife = life;
      void travel(delay.backMs)
        .then(receive ?? (() => Promise.resolve()))
        .then(() => {
          if (life === sentInLife) listener(ticket, inMs);
        });
    });
    return () => stop?.();
  }

  function open(deployment: Deployment): BackendSession {
    const inner = backend.open(deployment);
    const own = new Set<Pending>();
    let closed = false;

    function call<T>(operation: Operation, execute: () => Promise<T>): Promise<T> {
      calls = { ...calls, [operation]: calls[operation] + 1 };
      if (closed) return Promise.reject(notConnected("the session was closed"));
      if (dead) return Promise.reject(notConnected("connection refused"));
      return new Promise<T>((resolve, reject) => {
        const settle = (how: () => void): void => {
          pending.delete(each);
          own.delete(each);
          how();
        };
        const each: Pending = { reject, settle };
        pending.add(each);
        own.add(each);
        carry(each, execute, resolve).catch((error: Error) => settle(() => reject(error)));
      });
    }

    return {
      acquire: (request) => call("acquire", () => inner.acquire(request)),
      raise: (request) => call("raise", () => inner.raise(request)),
      extend: (request) => call("extend", () => inner.extend(request)),
      release: (key, owner, ticket) => call("release", () => inner.release(key, owner, ticket)),
      forceRelease: (key) => call("forceRelease", () => inner.forceRelease(key)),
      inspect: (key) => call("inspect", () => inner.inspect(key)),
      status: () => call("status", () => inner.status()),
      bootstrap: (incarnation) => call("bootstrap", () => inner.bootstrap(incarnation)),
      join: (incarnation) => call("join", () => inner.join(incarnation)),
      list: (request) => call("list", () => inner.list(request)),
      lift: (key, token) => call("lift", () => inner.lift(key, token)),
      quarantine: () => call("quarantine", () => inner.quarantine()),
      examine: () => call("examine", () => inner.examine()),
      ...(inner.watch === undefined ? {} : { watch: (listener) => watch(inner, listener) }),
      ...(inner.leave === undefined
        ? {}
        : { leave: (key, ticket) => call("leave", async () => inner.leave?.(key, ticket)) }),
      async close(): Promise<void> {
        closed = true;
        failAll(own, "the session was closed");
        await inner.close();
      },
    };
  }

  return {
    kind: backend.kind,
    name: backend.name,
    capabilities: backend.capabilities,
    client: backend.client,
    open,
    kill(): void {
      dead = true;
      life++;
      waiting = undefined;
      failAll(pending, "connection reset");
    },
    revive(): void {
      dead = false;
    },
    hang(): void {
      waiting ??= [];
    },
    resume(): void {
      const waited = waiting ?? [];
      waiting = undefined;
      for (const act of waited) act();
    },
    setDelay(next: NetworkDelay): void {
      delay = next;
    },
    loseRequests(probability: number): void {
      requestLoss = checked("loseRequests", probability);
    },
    loseReplies(probability: number): void {
      replyLoss = checked("loseReplies", probability);
    },
    duplicate(probability: number, afterMs: number): void {
      duplicates = checked("duplicate", probability);
      duplicateAfterMs = afterMs;
    },
    refuse(error: Error | undefined): void {
      refusal = error;
    },
    get calls(): CallCounts {
      return calls;
    },
  };
}

function realSleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

function checked(what: string, probability: number): number {
  if (probability >= 0 && probability <= 1) return probability;
  throw new InvalidOptionError(what, "a probability from 0 to 1", probability);
}

function ignore(): void {
  // Nobody waits for a duplicate.
}
