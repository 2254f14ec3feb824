/**
 * A session on a store that keeps its mark as one text beside the records: knows the mark, writes it where it is missing or
 * of another memory, and repeats what met another mark. The store does each step atomically; this file does none itself.
 */
import { randomBytes } from "node:crypto";
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
} from "../../backend.js";
import { BackendError, markMismatch, noQuarantine, show } from "../../errors.js";
import { markText, parseMark, sameFigures, type Mark } from "./mark.js";

/** The mark under which a step may act. */
export interface KnownMark {
  readonly text: string;
  /** {@link Sight.memory} when it was looked at. */
  readonly memory: string;
  /** By the store's clock; 0 when there is none. */
  readonly quarantinedUntilMs: number;
}

/** What a look at the store shows. */
export interface Sight {
  /** The text of its mark; undefined when there is none. */
  readonly mark: string | undefined;
  /** Names what may lose its memory as a whole, without spaces; "" where only the mark tells. */
  readonly memory: string;
  /** Names the server process or the store; undefined where only the mark does. */
  readonly serverId: string | undefined;
  /** The store's clock. */
  readonly nowMs: number;
}

/** The mark, or the memory behind the connection, is another one than the client knows. Nothing was done. */
export interface OtherMark {
  readonly kind: "other-mark";
}
/** The mark states a quarantine that has not ended. Nothing was done. */
export interface InQuarantine {
  readonly kind: "quarantined";
  readonly remainingMs: number;
}

/** What an acquire came to. */
export type AcquireOutcome =
  | { readonly kind: "granted"; readonly fence: bigint }
  | { readonly kind: "held"; readonly remainingMs: number }
  | InQuarantine
  | OtherMark;
/** What a raise came to. */
export type RaiseOutcome = { readonly kind: RaiseReply } | OtherMark;
/** What an extension came to. */
export type ExtendOutcome =
  { readonly kind: "extended" | "recreated" | "not-owner" } | InQuarantine | OtherMark;

/** The steps of a store, each atomic. All reject with a `BackendError`, in bounded time. */
export interface MarkedStore {
  acquire(mark: KnownMark, request: AcquireRequest): Promise<AcquireOutcome>;
  raise(mark: KnownMark, request: RaiseRequest): Promise<RaiseOutcome>;
  extend(mark: KnownMark, request: ExtendRequest): Promise<ExtendOutcome>;
  release(key: string, owner: string): Promise<ReleaseReply>;
  forceRelease(key: string): Promise<boolean>;
  inspect(key: string): Promise<KeyRecord>;
  list(request: ListRequest): Promise<ListPage>;
  lift(key: string, token: bigint): Promise<bigint>;
  look(): Promise<Sight>;
  /** Writes the mark where it is still `from`. Resolves to whether it did. */
  swapMark(from: string | undefined, to: string): Promise<boolean>;
  examine(): Promise<Examination>;
  close(): Promise<void>;
}

/** What a session needs to know beside its store. */
export interface MarkedSessionOptions {
  readonly name: string;
  readonly deployment: Deployment;
  /** Where the mark is, for the message that says what to delete. */
  readonly markPlace: string;
  /** What messages call the memory of a store that is not under `restartGuard: "off"`. */
  readonly memoryName: string;
}

interface Known extends KnownMark {
  readonly identity: BackendIdentity;
  readonly joined: boolean;
  /** The store's clock when it was learnt. */
  readonly nowMs: number;
}

/** How often a step is repeated when the mark changes under it, which happens when clients start together. */
const MARK_TRIES = 8;

/** Opens a session on a store. */
export function openMarkedSession(store: MarkedStore, options: MarkedSessionOptions): BackendSession {
  const { name, deployment } = options;
  const guarded = deployment.restartGuard !== "off";
  const kind = guarded ? "d" : "o";
  let known: Known | undefined;
  let learning: Promise<Known> | undefined;
  let closed = false;

  function refuseClosed(): void {
    if (closed) throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
  }

  function learn(): Promise<Known> {
    learning ??= look().finally(() => {
      learning = undefined;
    });
    return learning;
  }

  /** The mark of this memory, written when it is missing or belongs to another; refuses another configuration. */
  async function look(): Promise<Known> {
    for (let tries = 1; tries <= MARK_TRIES; tries++) {
      refuseClosed();
      const sight = await store.look();
      const mark = sight.mark === undefined ? undefined : parseMark(sight.mark);
      if (sight.mark !== undefined) {
        if (mark === undefined) throw otherFormat(sight.mark);
        refuseOthers(mark);
        if (mark.incarnation.startsWith(memoryOf(sight))) return remember(sight, sight.mark, mark);
      }
      const written = newMark(sight, mark !== undefined);
      // Read again even when it was written: another client may have been faster, or told of a deployment.
      await store.swapMark(sight.mark, markText(written));
    }
    throw changing();
  }

  function memoryOf({ memory }: Sight): string {
    return memory === "" || !guarded ? `${kind}.` : `${kind}.${memory}.`;
  }

  function newMark(sight: Sight, joined: boolean): Mark {
    const { backends, quorum, maxTtlMs } = deployment;
    return {
      incarnation: memoryOf(sight) + randomBytes(16).toString("hex"),
      backends,
      quorum,
      maxTtlMs,
      joined,
      // From before the mark is written: what was forgotten had been granted before.
      quarantinedUntilMs: guarded ? Math.ceil(sight.nowMs + deployment.quarantineMs) : 0,
    };
  }

  function refuseOthers(mark: Mark): void {
    const letter = mark.incarnation.charAt(0);
    if (sameFigures(mark, deployment) && letter === kind) return;
    const memory = (of: string): string =>
      of === "d" ? options.memoryName : of === "o" ? 'restartGuard: "off"' : "another kind of memory";
    throw markMismatch(
      { backend: name, mark: options.markPlace },
      { ...mark, memory: memory(letter) },
      { ...deployment, memory: memory(kind) },
    );
  }

  function otherFormat(text: string): BackendError {
    const what = `its mark, ${options.markPlace}, has another format: ${show(text)}`;
    return new BackendError("BACKEND_MARK_MISMATCH", { backend: name, what });
  }

  function changing(): BackendError {
    const what = "its mark changed again and again";
    return new BackendError("BACKEND_MARK_UNREADABLE", { backend: name, what });
  }

  function remember(sight: Sight, text: string, mark: Mark): Known {
    const { incarnation, joined, quarantinedUntilMs } = mark;
    const serverId = sight.serverId ?? incarnation;
    // The same object while nothing changed, which the locker compares at every answer.
    const identity =
      known?.identity.serverId === serverId && known.identity.incarnation === incarnation
        ? known.identity
        : { serverId, incarnation };
    known = { text, memory: sight.memory, quarantinedUntilMs, joined, identity, nowMs: sight.nowMs };
    return known;
  }

  /** Takes a step under the mark; learns it anew and repeats while it is another one. */
  async function marked<O extends { readonly kind: string }>(
    step: (mark: KnownMark) => Promise<O | OtherMark>,
  ): Promise<{ readonly outcome: O; readonly under: Known }> {
    for (let tries = 1; tries <= MARK_TRIES; tries++) {
      const under = known ?? (await learn());
      refuseClosed();
      const outcome = await step(under);
      if (!isOtherMark(outcome)) return { outcome, under };
      if (known === under) known = undefined;
    }
    throw changing();
  }

  function quarantined({ joined, identity }: Known, remainingMs: number): Quarantined {
    return { kind: "quarantined", remainingMs, joined, identity };
  }

  async function status(): Promise<StatusReply> {
    // Not `learn()`: a look that began before this call may be older than what the caller has just done.
    const current = await look();
    const remainingMs = current.quarantinedUntilMs - current.nowMs;
    return remainingMs > 0
      ? quarantined(current, remainingMs)
      : { kind: "in-service", identity: current.identity };
  }

  /** Changes the mark while its incarnation is that one. Resolves to whether it did. */
  async function change(incarnation: string | undefined, to: (mark: Mark) => Mark): Promise<boolean> {
    for (let tries = 1; tries <= MARK_TRIES; tries++) {
      const { text } = known ?? (await learn());
      const mark = parseMark(text);
      if (mark === undefined) throw otherFormat(text);
      if (incarnation !== undefined && mark.incarnation !== incarnation) {
        // What is known may be old.
        if (tries > 1) return false;
        known = undefined;
        continue;
      }
      const next = markText(to(mark));
      const swapped = next === text ? (await store.look()).mark === text : await store.swapMark(text, next);
      known = undefined;
      if (swapped) return true;
    }
    throw changing();
  }

  return {
    async acquire(request: AcquireRequest): Promise<AcquireReply> {
      const { outcome, under } = await marked((mark) => store.acquire(mark, request));
      switch (outcome.kind) {
        case "granted":
          return { kind: "granted", fence: outcome.fence, identity: under.identity };
        case "held":
          return { kind: "held", remainingMs: outcome.remainingMs, identity: under.identity };
        case "quarantined":
          return quarantined(under, outcome.remainingMs);
      }
    },

    async raise(request: RaiseRequest): Promise<RaiseReply> {
      return (await marked((mark) => store.raise(mark, request))).outcome.kind;
    },

    async extend(request: ExtendRequest): Promise<ExtendReply> {
      const { outcome, under } = await marked((mark) => store.extend(mark, request));
      if (outcome.kind === "quarantined") return quarantined(under, outcome.remainingMs);
      return { kind: outcome.kind, identity: under.identity };
    },

    release: (key, owner) => store.release(key, owner),
    forceRelease: (key) => store.forceRelease(key),
    inspect: (key) => store.inspect(key),
    list: (request) => store.list(request),
    lift: (key, token) => store.lift(key, token),
    status,

    async bootstrap(incarnation: string): Promise<void> {
      await change(incarnation, (mark) => ({ ...mark, quarantinedUntilMs: 0 }));
    },

    async join(incarnation: string): Promise<void> {
      await change(incarnation, (mark) => ({ ...mark, joined: true }));
    },

    async quarantine(): Promise<Quarantined> {
      if (!guarded) throw noQuarantine(name);
      for (let tries = 1; tries <= MARK_TRIES; tries++) {
        const { text } = await look();
        const swapped = await store.swapMark(text, markText(newMark(await store.look(), true)));
        known = undefined;
        const after = swapped ? await status() : undefined;
        if (after?.kind === "quarantined") return after;
      }
      throw changing();
    },

    examine: () => store.examine(),

    async close(): Promise<void> {
      if (closed) return;
      closed = true;
      await store.close();
    },
  };
}

function isOtherMark(outcome: { readonly kind: string }): outcome is OtherMark {
  return outcome.kind === "other-mark";
}
