/**
 * A session on a store that decides by itself, in one step, whether it still has the mark that the client knows: knows the
 * mark, writes it where it is missing or of another memory, and repeats what met another one. One round trip for each
 * operation; for stores that can only compare and swap there is `cas-session.ts`.
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
import { BackendError, noQuarantine } from "../../errors.js";
import { createMarkReader, memoryKind, newMemoryId } from "./mark-reader.js";

/** The mark under which a step may act. */
export interface KnownMark {
  readonly text: string;
  /** {@link Sight.origin} when it was looked at. */
  readonly origin: string;
  /** By the store's clock; 0 when there is none. */
  readonly quarantinedUntil: number;
}

/** What a look at the store shows. */
export interface Sight {
  /** The text of its mark; undefined when there is none. */
  readonly mark: string | undefined;
  /** Names the data as far as the store tells; another one is another memory. No blanks. "" where only the mark tells. */
  readonly origin: string;
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
  | { readonly kind: "held"; readonly remainingMs: number; readonly reserved?: true }
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
  release(key: string, owner: string, ticket?: Ticket): Promise<ReleaseReply>;
  forceRelease(key: string): Promise<boolean>;
  inspect(key: string): Promise<KeyRecord>;
  list(request: ListRequest): Promise<ListPage>;
  lift(key: string, token: bigint): Promise<bigint>;
  look(): Promise<Sight>;
  /** Writes the mark where it is still `from`. Resolves to whether it did. */
  swapMark(from: string | undefined, to: string): Promise<boolean>;
  examine(): Promise<Examination>;
  /** As those of a session; missing where the store calls nobody. */
  readonly watch?: BackendSession["watch"];
  readonly leave?: BackendSession["leave"];
  close(): Promise<void>;
}

/** What a session needs to know beside its store. */
export interface MarkedSessionOptions {
  readonly name: string;
  readonly deployment: Deployment;
  /** Where the mark is, for the message that says what to delete. */
  readonly markPlace: string;
}

interface Known extends KnownMark {
  readonly mark: Mark;
  readonly identity: BackendIdentity;
  /** The store's clock when it was learnt. */
  readonly nowMs: number;
}

/** How often a step is repeated when the mark changes under it, which happens when clients start together. */
const MARK_TRIES = 8;

/** Opens a session on a store that a plain restart leaves as it was. The store is closed with it. */
export function openMarkedSession(store: MarkedStore, options: MarkedSessionOptions): BackendSession {
  const { name, deployment, markPlace } = options;
  const { quarantineMs } = deployment;
  const memory = memoryKind(deployment, true);
  const marks = createMarkReader({ name, deployment, memory, markPlace });
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
      const { mark: text, origin, nowMs } = sight;
      const { mark, isThere } = marks.read(text, { origin, nowMs });
      if (text !== undefined && isThere) return remember(sight, { text, mark });
      // Read again even when it was written: another client may have been faster, or told of a deployment.
      await store.swapMark(text, formatMark(mark));
    }
    throw changing();
  }

  function changing(): BackendError {
    const what = "its mark changed again and again";
    return new BackendError("BACKEND_MARK_UNREADABLE", { backend: name, what });
  }

  function remember(sight: Sight, { text, mark }: { readonly text: string; readonly mark: Mark }): Known {
    const { incarnation, quarantinedUntil } = mark;
    const { origin, nowMs, serverId = incarnation } = sight;
    const identity = marks.identityOf(mark, serverId);
    known = { text, origin, quarantinedUntil, mark, identity, nowMs };
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

  /** A change of the mark; `to` is undefined where nothing is to change. */
  async function change(to: (known: Known) => Mark | undefined): Promise<Known> {
    for (let tries = 1; tries <= MARK_TRIES; tries++) {
      const before = await look();
      const next = to(before);
      if (next === undefined) return before;
      if (await store.swapMark(before.text, formatMark(next))) return look();
    }
    throw changing();
  }

  function quarantined({ mark, identity }: Known, remainingMs: number): Quarantined {
    return { kind: "quarantined", remainingMs, joined: mark.joined, identity };
  }

  return {
    async acquire(request: AcquireRequest): Promise<AcquireReply> {
      const { outcome, under } = await marked((mark) => store.acquire(mark, request));
      switch (outcome.kind) {
        case "granted":
          return { kind: "granted", fence: outcome.fence, identity: under.identity };
        case "held":
          return { ...outcome, identity: under.identity };
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

    release: (key, owner, ticket) => store.release(key, owner, ticket),
    forceRelease: (key) => store.forceRelease(key),
    inspect: (key) => store.inspect(key),
    list: (request) => store.list(request),
    lift: (key, token) => store.lift(key, token),

    async status(): Promise<StatusReply> {
      // Not `learn()`: a look that began before this call may be older than what the caller has just done.
      const current = await look();
      const remainingMs = quarantineLeftMs(current.mark, current.nowMs);
      return remainingMs > 0
        ? quarantined(current, remainingMs)
        : { kind: "in-service", identity: current.identity };
    },

    async bootstrap(incarnation: string): Promise<void> {
      await change(({ mark }) => markBootstrapped(mark, incarnation));
    },

    async join(incarnation: string): Promise<void> {
      await change(({ mark }) => markJoined(mark, incarnation));
    },

    async quarantine(): Promise<Quarantined> {
      if (memory === "off") throw noQuarantine(name);
      const id = newMemoryId();
      const after = await change(({ mark, nowMs }) =>
        mark.incarnation.endsWith(id) ? undefined : markQuarantined(mark, { id, nowMs, quarantineMs }),
      );
      return quarantined(after, quarantineLeftMs(after.mark, after.nowMs));
    },

    examine: () => store.examine(),

    ...(store.watch === undefined ? {} : { watch: store.watch }),
    ...(store.leave === undefined ? {} : { leave: store.leave }),

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
