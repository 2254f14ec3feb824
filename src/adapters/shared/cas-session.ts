/**
 * A backend on a store with compare and swap: looks, decides by `engine/record.ts` and `engine/mark.ts`, and writes if
 * nothing has changed meanwhile. Two round trips where the store needs one for each.
 */
import type {
  AcquireReply,
  AcquireRequest,
  BackendIdentity,
  BackendSession,
  Deployment,
  Examination,
  ExtendReply,
  ExtendRequest,
  KeyRecord,
  ListPage,
  ListRequest,
  Quarantined,
  RaiseReply,
  RaiseRequest,
  ReleaseReply,
  StatusReply,
  Ticket,
} from "../../backend.js";
import {
  formatMark,
  markBootstrapped,
  markJoined,
  markQuarantined,
  quarantineLeftMs,
  type Mark,
} from "../../engine/mark.js";
import {
  acquireKey,
  extendKey,
  forceReleaseKey,
  keptNow,
  leaveKey,
  liftKey,
  raiseKey,
  releaseKey,
  type ClockReading,
  type KeptKey,
  type RecordContext,
  type Step,
} from "../../engine/record.js";
import { clampProposal, skewMicros } from "../../engine/token.js";
import { BackendError, noQuarantine } from "../../errors.js";
import type { CasStore, Look, MarkLook } from "./cas-store.js";
import { createMarkReader, memoryKind, newMemoryId } from "./mark-reader.js";
import { counterBroken } from "./refusals.js";
import { createWatcher } from "./watcher.js";

/** What a session needs of its backend. */
export interface CasSessionOptions {
  readonly name: string;
  /** Whether a plain restart keeps what was acknowledged. */
  readonly durable: boolean;
  readonly deployment: Deployment;
  /** Where the mark lies, for messages that tell how to delete it: "the key ql/mark". */
  readonly markPlace: string;
}

/** What a step that relies on the mark sees. */
interface Marked<Version> {
  readonly mark: Mark;
  readonly look: Look<Version>;
  readonly kept: KeptKey | undefined;
  readonly context: RecordContext;
}

/** Somebody else wrote between the look and the write so often; each time one of them got on. */
const TRIES_MAX = 32;
/** A place in line is worth no more than that. */
const ADVICE_TRIES_MAX = 8;
const FORGET_EVERY = 256;

/** Opens a session. The store is closed with it. */
export function openCasSession<Version>(
  store: CasStore<Version>,
  options: CasSessionOptions,
): BackendSession {
  const { name, deployment, markPlace } = options;
  const { tokenRetentionMs: retentionMs, quarantineMs } = deployment;
  const memory = memoryKind(deployment, options.durable);
  const marks = createMarkReader({ name, deployment, memory, markPlace });
  const skew = skewMicros(deployment.clockSkewMs);
  let untilForget = FORGET_EVERY;
  const watcher = store.watch === undefined ? undefined : createWatcher(store.watch, store.watchesMax);

  function contextOf(key: string, look: Look<Version>): RecordContext {
    const over = watcher?.over(key, look.key?.value.line);
    return { now: look.now, retentionMs, ...(over === undefined ? {} : { over }) };
  }

  /** Whose mark it is and what it says; undefined when it had to be written first, so that another look is due. */
  async function markIn(look: MarkLook<Version>): Promise<Mark | undefined> {
    const { origin, now } = look;
    const { mark, isThere } = marks.read(look.mark?.value, { origin, nowMs: now.atMostMs });
    if (isThere) return mark;
    await store.putMark(formatMark(mark), look.mark?.version);
    return undefined;
  }

  function identityOf(mark: Mark, { serverId }: MarkLook<Version>): BackendIdentity {
    return marks.identityOf(mark, serverId === "" ? mark.incarnation : serverId);
  }

  function quarantine(mark: Mark, look: MarkLook<Version>): Quarantined | undefined {
    const remainingMs = quarantineLeftMs(mark, look.now.atLeastMs);
    if (remainingMs <= 0) return undefined;
    return { kind: "quarantined", remainingMs, joined: mark.joined, identity: identityOf(mark, look) };
  }

  /** Repeats `attempt` while it comes back with nothing because somebody else wrote in between. */
  async function untilDone<T>(attempt: (tries: number) => Promise<T | undefined>): Promise<T> {
    for (let tries = 1; tries <= TRIES_MAX; tries++) {
      const done = await attempt(tries);
      if (done !== undefined) return done;
    }
    const what = `others wrote the same key or mark ${TRIES_MAX} times in between; nothing was changed`;
    throw new BackendError("BACKEND_BUSY", { backend: name, what });
  }

  /** One step to a key that relies on the mark. */
  async function marked<Answer>(
    key: string,
    ttlMs: number | undefined,
    decide: (at: Marked<Version>) => Step<Answer>,
  ): Promise<Answer> {
    const { answer } = await untilDone(async (tries) => {
      const look = await store.look(key, { ttlMs });
      const step = await decideOn(key, look, decide);
      if (step === undefined) return undefined;
      const { next } = step;
      const putting = next === undefined ? "written" : store.put(key, next, { look, onMark: true });
      // A place in line that cannot be written is no reason to leave a question without its answer.
      const put = step.isAdvice === true ? Promise.resolve(putting).catch(() => "given up") : putting;
      const done = (await put) !== "conflict" || (step.isAdvice === true && tries >= ADVICE_TRIES_MAX);
      if (done) forgetNowAndThen(look);
      return done ? { answer: step.answer } : undefined;
    });
    return answer;
  }

  /** What is to be done after a look; undefined when another one is due. Tells the store when no write follows. */
  async function decideOn<Answer>(
    key: string,
    look: Look<Version>,
    decide: (at: Marked<Version>) => Step<Answer>,
  ): Promise<Step<Answer> | undefined> {
    let step: Step<Answer> | undefined;
    try {
      const mark = await markIn(look);
      if (mark === undefined) return undefined;
      step = decide({ mark, look, kept: look.key?.value, context: contextOf(key, look) });
      return step;
    } finally {
      if (step?.next === undefined) store.discard?.(look, key);
    }
  }

  /** One step to a key under any mark. */
  async function unmarked<Answer>(
    key: string,
    decide: (kept: KeptKey | undefined, context: RecordContext) => Step<Answer>,
  ): Promise<Answer> {
    const { answer } = await untilDone(async () => {
      const look = await store.look(key, { ttlMs: undefined });
      const step = decide(look.key?.value, contextOf(key, look));
      const { next } = step;
      const done = next === undefined || (await store.put(key, next, { look, onMark: false })) === "written";
      return done ? { answer: step.answer } : undefined;
    });
    return answer;
  }

  /** A change of the mark; `change` is undefined where nothing is to change. */
  function changeMark(
    change: (mark: Mark, look: MarkLook<Version>) => Mark | undefined,
  ): Promise<{ readonly mark: Mark; readonly look: MarkLook<Version> }> {
    return untilDone(async () => {
      const look = await store.lookAtMark();
      const mark = await markIn(look);
      if (mark === undefined) return undefined;
      const next = change(mark, look);
      if (next === undefined) return { mark, look };
      const written = await store.putMark(formatMark(next), look.mark?.version);
      return written === "written" ? { mark: next, look } : undefined;
    });
  }

  function forgetNowAndThen({ now }: Look<Version>): void {
    if (store.forget === undefined || --untilForget > 0) return;
    untilForget = FORGET_EVERY;
    // What could not be deleted now is deleted another time.
    store.forget(now).catch(() => undefined);
  }

  return {
    async acquire({ key, owner, ttlMs, proposal, ticket: asked }: AcquireRequest): Promise<AcquireReply> {
      const ticket = asked === undefined ? undefined : watcher?.ticketOf(key, asked);
      const reply = await marked<AcquireReply | "counter-full">(
        key,
        ttlMs,
        ({ mark, look, kept, context }) => {
          const quarantined = quarantine(mark, look);
          if (quarantined !== undefined) return { answer: quarantined, next: undefined };
          const request = { owner, ttlMs, proposal: clamped(proposal, look.wall, skew), ticket };
          const { answer, ...step } = acquireKey(kept, request, context);
          if (answer.kind === "counter-full") return { answer: "counter-full", next: undefined };
          return { answer: { ...answer, identity: identityOf(mark, look) }, ...step };
        },
      );
      if (asked !== undefined && ticket !== undefined) {
        if (reply !== "counter-full" && reply.kind === "held") watcher?.joined(key, asked);
        else watcher?.left(asked.id);
      }
      if (reply === "counter-full") throw counterBroken(name, key);
      return reply;
    },

    raise: (request: RaiseRequest): Promise<RaiseReply> =>
      marked(request.key, undefined, ({ kept, context }) => raiseKey(kept, request, context)),

    extend: (request: ExtendRequest): Promise<ExtendReply> =>
      marked<ExtendReply>(request.key, request.ttlMs, ({ mark, look, kept, context }) => {
        const quarantined = quarantine(mark, look);
        const asked = { ...request, quarantined: quarantined !== undefined };
        const { answer, next } = extendKey(kept, asked, context);
        if (quarantined !== undefined && answer === "quarantined") return { answer: quarantined, next };
        const kind = answer === "quarantined" ? "not-owner" : answer;
        return { answer: { kind, identity: identityOf(mark, look) }, next };
      }),

    release(key: string, owner: string, asked?: Ticket): Promise<ReleaseReply> {
      const ticket = asked === undefined ? undefined : watcher?.ticketOf(key, asked);
      // Ahead of the write, which may be followed at once by what the watch shows of it.
      if (asked !== undefined && ticket !== undefined) watcher?.joined(key, asked);
      return unmarked(key, (kept, context) => releaseKey(kept, { owner, ticket }, context));
    },

    forceRelease: (key: string): Promise<boolean> => unmarked(key, forceReleaseKey),

    async inspect(key: string): Promise<KeyRecord> {
      const look = await store.look(key, { ttlMs: undefined });
      const { lock, counter } = keptNow(look.key?.value, look.now);
      if (lock === undefined) return { lock, counter };
      const { owner, fence, expiresAt } = lock;
      // No more than is left, since an adopted lease relies on it.
      return { lock: { owner, fence, remainingMs: Math.max(0, expiresAt - look.now.atMostMs) }, counter };
    },

    async status(): Promise<StatusReply> {
      const { mark, look } = await changeMark(() => undefined);
      return quarantine(mark, look) ?? { kind: "in-service", identity: identityOf(mark, look) };
    },

    async bootstrap(incarnation: string): Promise<void> {
      await changeMark((mark) => markBootstrapped(mark, incarnation));
    },

    async join(incarnation: string): Promise<void> {
      await changeMark((mark) => markJoined(mark, incarnation));
    },

    list: (request: ListRequest): Promise<ListPage> => store.list(request),

    lift: (key: string, token: bigint): Promise<bigint> =>
      unmarked(key, (kept, context) => liftKey(kept, token, context)),

    async quarantine(): Promise<Quarantined> {
      if (memory === "off") throw noQuarantine(name);
      const id = newMemoryId();
      const { mark, look } = await changeMark((found, at) =>
        markQuarantined(found, { id, nowMs: at.now.atMostMs, quarantineMs }),
      );
      const { joined } = mark;
      return { kind: "quarantined", remainingMs: quarantineMs, joined, identity: identityOf(mark, look) };
    },

    examine: (): Promise<Examination> => store.examine(),

    ...(watcher === undefined
      ? {}
      : {
          watch: watcher.watch,
          async leave(key: string, ticketId: string): Promise<void> {
            watcher.left(ticketId);
            await unmarked(key, (kept, context) => leaveKey(kept, watcher.address(ticketId), context));
          },
        }),

    close(): Promise<void> {
      watcher?.close();
      return store.close();
    },
  };
}

/** The proposal, moved into the window around the store's wall clock, however coarse that is. */
function clamped(proposal: bigint, wall: ClockReading | undefined, skew: bigint): bigint {
  if (wall === undefined) return proposal;
  const micros = (ms: number): bigint => BigInt(Math.round(ms * 1000));
  const atMost = micros(wall.atMostMs);
  return proposal > atMost
    ? clampProposal(proposal, atMost, skew)
    : clampProposal(proposal, micros(wall.atLeastMs), skew);
}
