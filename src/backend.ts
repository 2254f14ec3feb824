/**
 * The contract that every adapter implements. A backend is one independent store that votes; an adapter turns a user's
 * client into one. Every operation is one atomic step on the backend and compares the backend's mark before it acts.
 */

/** How a locker treats a backend that may have lost its memory. See `docs/guarantees.md`. */
export type RestartGuard = "auto" | "strict" | "off";

/**
 * What all clients of one set of backends must agree on. It is written into each backend's mark, and a client that
 * is configured otherwise is refused.
 */
export interface Deployment {
  /** How many backends there are. */
  readonly backends: number;
  /** How many of them decide. */
  readonly quorum: number;
  /** The longest TTL that any client may ask for, in milliseconds. */
  readonly maxTtlMs: number;
  /** The largest difference between any two wall clocks of the deployment, in milliseconds. */
  readonly clockSkewMs: number;
  /** How long a backend with a new memory does not vote, in milliseconds by its own clock. */
  readonly quarantineMs: number;
  /** For how long after its last use a key's counter is kept, in milliseconds. */
  readonly tokenRetentionMs: number;
  readonly restartGuard: RestartGuard;
}

/** What a backend can do and how it behaves. Data, so that the engine, the conformance list and the docs use it. */
export interface Capabilities {
  /** How early a record may end by the backend's own clock, in milliseconds. */
  readonly earlyByMs: number;
  /** How late a record may end by the backend's own clock, in milliseconds. */
  readonly lateByMs: number;
  /** What ends a record: a clock that may be set, or one that only runs. */
  readonly expiryClock: "wall" | "monotonic";
  /** Whether a plain restart keeps what was acknowledged. */
  readonly durable: boolean;
  /** Whether {@link BackendSession.list} works. */
  readonly lists: boolean;
  /** Whether it calls those who wait for a key when it is free; see {@link BackendSession.watch}. Default false. */
  readonly wakes?: boolean;
  /**
   * As what operations travel together that a process asks for in one turn of the event loop. "no", the default: each is a
   * request of its own.
   */
  readonly coalesces?: "script" | "statement" | "transaction" | "no";
  /** It excludes nobody, so that it must be the only backend of its locker. Default false; true for `noop()` alone. */
  readonly grantsEverything?: boolean;
  /** What makes one operation one atomic step on the store, in a few words. For people. */
  readonly atomicStep: string;
  /** Round trips of an acquire of a free key, on a connection that is in use. */
  readonly acquireRoundTrips: number;
}

/** Who answered. The same object as long as nothing changed, so that comparing it costs nothing. */
export interface BackendIdentity {
  /** Names the server process or the store: two backends with the same one are one server. */
  readonly serverId: string;
  /** Names the memory: another one means that locks may have been forgotten. */
  readonly incarnation: string;
}

/** The backend does not vote, since its memory is new and locks that it forgot may still be in use. */
export interface Quarantined {
  readonly kind: "quarantined";
  readonly remainingMs: number;
  /** Somebody told it, or it knows by itself, that a deployment existed before this memory. */
  readonly joined: boolean;
  readonly identity: BackendIdentity;
}

/** A waiter's place in the line for a key. Advice whom to let in first, never a right: see {@link BackendSession.watch}. */
export interface Ticket {
  /** Digits that name the waiter. Of two that began at the same time the smaller text goes first, the same one on all backends. */
  readonly id: string;
  /** When its wait began, in microseconds of hybrid time; the smallest goes first. */
  readonly since: bigint;
  /** For how long it may still wait, in milliseconds. */
  readonly waitsMs: number;
}

export interface AcquireRequest {
  readonly key: string;
  readonly owner: string;
  readonly ttlMs: number;
  /** Microseconds; see `engine/token.ts`. */
  readonly proposal: bigint;
  /** Stands in line when the answer is held. Ignored by a backend that wakes nobody. */
  readonly ticket?: Ticket | undefined;
}

/** A live lock of the same owner is granted again with the same fence, and nothing changes. */
export type AcquireReply =
  | { readonly kind: "granted"; readonly fence: bigint; readonly identity: BackendIdentity }
  | {
      readonly kind: "held";
      readonly remainingMs: number | undefined;
      /** No lock: it is kept for somebody else in line, who will have it sooner or leave it. */
      readonly reserved?: true;
      readonly identity: BackendIdentity;
    }
  | Quarantined;

export interface RaiseRequest {
  readonly key: string;
  readonly owner: string;
  /** The fence that this backend granted. */
  readonly fence: bigint;
  /** The token that it must remember from now on. */
  readonly token: bigint;
}

/** "refused": no live lock with this owner and fence is there. */
export type RaiseReply = "raised" | "refused";

export interface ExtendRequest {
  readonly key: string;
  readonly owner: string;
  readonly ttlMs: number;
  readonly token: bigint;
  /** Whether a missing lock may be created anew; never happens on a quarantined backend. */
  readonly mayHeal: boolean;
}

/** An expiry never shrinks. "not-owner": no live lock of this owner, and none was made. */
export type ExtendReply =
  { readonly kind: "extended" | "recreated" | "not-owner"; readonly identity: BackendIdentity } | Quarantined;

/** "not-owner": no live lock of this owner was there. */
export type ReleaseReply = "released" | "not-owner";

/** What one backend holds for one key. */
export interface KeyRecord {
  /**
   * The live lock, if there is one. It ends no earlier than {@link Capabilities.earlyByMs} before `remainingMs` has
   * passed by the backend's clock: the validity of an adopted lease rests on it.
   */
  readonly lock: { readonly owner: string; readonly fence: bigint; readonly remainingMs: number } | undefined;
  /** The counter; 0 when there is none. */
  readonly counter: bigint;
}

/** Which keys to list. */
export interface ListRequest {
  /** Only keys that begin with it; "" for all. */
  readonly prefix: string;
  /** {@link ListPage.next} of the page before; undefined for the first one. */
  readonly cursor: string | undefined;
  /** About how many to look at for one page, so that no page holds up a busy store. */
  readonly pageSize: number;
}

/** Some of the keys that have a live lock. A page may be empty though others follow, and a key may come twice. */
export interface ListPage {
  readonly keys: readonly string[];
  /** Where the next page begins; undefined when this is the last one. */
  readonly next: string | undefined;
}

/** Something that an operator should know of a backend, or may be glad to see. */
export interface Finding {
  /** "problem": a promise of the lock does not hold with it. "warning": it may not. "good": as it should be. */
  readonly level: "good" | "warning" | "problem";
  readonly topic: "version" | "role" | "durability" | "eviction" | "access" | "clock" | "storage";
  /** One sentence without a full stop: what was found. */
  readonly text: string;
  /** What to do about it; undefined where nothing is to be done. */
  readonly remedy?: string;
}

/** What a backend says of itself, for people. */
export interface Examination {
  /** Product and version, such as "Redis 7.0.15". */
  readonly server: string;
  /** Its wall clock in milliseconds since 1970, while it answered; undefined where the store shows none. */
  readonly wallMs: number | undefined;
  /** As in {@link BackendIdentity}; left out where it is not told. */
  readonly serverId?: string;
  /**
   * Whether it has no mark, so that nobody used it for locks yet, or it lost all. Asking for its status, or anything
   * else, then writes one with the figures of whoever asks. Left out where it is not told.
   */
  readonly unused?: boolean;
  readonly findings: readonly Finding[];
}

/** Whether the backend votes. */
export type StatusReply = { readonly kind: "in-service"; readonly identity: BackendIdentity } | Quarantined;

/** Who waits for an answer. Exactly one of the two is called, once. */
export interface Listener<T> {
  answered(answer: T): void;
  failed(error: unknown): void;
}

/**
 * A promise that also tells a listener in the very step in which the answer is read, which costs a fraction of what promises cost. An
 * adapter may answer with one where many operations are answered at once; the locker tells it from other promises by `tell`.
 */
export interface PromptAnswer<T> extends Promise<T> {
  tell(listener: Listener<T>): void;
}

/**
 * A backend in use by one locker. Every method rejects with a `BackendError` when the backend did not answer or refused
 * to act; the effect of a rejected operation is unknown, it may still be executed later. Methods may be called at once
 * and in any number, and never wait for each other by themselves; the locker bounds them.
 */
export interface BackendSession {
  acquire(request: AcquireRequest): Promise<AcquireReply>;
  raise(request: RaiseRequest): Promise<RaiseReply>;
  extend(request: ExtendRequest): Promise<ExtendReply>;
  /**
   * `ticket` is that of a lost attempt whose wait goes on. Where this frees a lock, it stands in line again *before* the backend
   * decides for whom it keeps the key; nowhere else, and not at a backend that wakes nobody.
   */
  release(key: string, owner: string, ticket?: Ticket): Promise<ReleaseReply>;
  /** Deletes the lock whoever owns it, and keeps the counter. Resolves to whether there was one. */
  forceRelease(key: string): Promise<boolean>;
  inspect(key: string): Promise<KeyRecord>;
  /** Lists keys with a live lock. Rejects with `BACKEND_UNSUPPORTED` unless {@link Capabilities.lists}. */
  list(request: ListRequest): Promise<ListPage>;
  /** Lifts the counter of a key to at least `token`; it never shrinks. Resolves to what it is now. */
  lift(key: string, token: bigint): Promise<bigint>;
  status(): Promise<StatusReply>;
  /** Puts a quarantined backend into service, if its incarnation is still that one. Otherwise changes nothing. */
  bootstrap(incarnation: string): Promise<void>;
  /** Tells a backend that a deployment exists, if its incarnation is still that one. Otherwise changes nothing. */
  join(incarnation: string): Promise<void>;
  /**
   * Begins a quarantine by hand, as if its memory were new and had been joined: after a restore from a backup, which
   * no backend notices by itself. Locks and counters stay. Rejects with `BACKEND_UNSUPPORTED` where the backend has no
   * mark, or under `restartGuard: "off"`.
   */
  quarantine(): Promise<Quarantined>;
  /** Asks the server for what matters to a lock: version, role, durability, eviction, access, clock. Changes nothing. */
  examine(): Promise<Examination>;
  /**
   * Hears of tickets whose turn has come; missing where the backend wakes nobody. A backend that frees a lock (a release,
   * a forced one) under which tickets stand in line reserves the key for the first of them, for a short time, and
   * calls it: `inMs` is 0. It tells the second one, too, when it may try: after the reservation, should the first
   * be gone. While the key is reserved, everybody else is told held. Calls may be lost; nobody may rely on them. Returns
   * how to stop.
   */
  watch?(listener: (ticket: string, inMs: number) => void): () => void;
  /** Takes a ticket out of the line, and gives up what was reserved for it. Missing where the backend wakes nobody. */
  leave?(key: string, ticket: string): Promise<void>;
  /** Closes what the adapter opened itself; never the caller's client. */
  close(): Promise<void>;
}

/** One independent store that votes. Made by an adapter's factory; opened by each locker that uses it. */
export interface Backend {
  /** The adapter, for instance "redis". */
  readonly kind: string;
  /** What messages and logs call it; unique in a locker. */
  readonly name: string;
  readonly capabilities: Capabilities;
  /** The user's client or store; two backends of one locker never share one. */
  readonly client: object;
  /** Must not wait: connecting happens behind the first requests. Throws where the deployment cannot be served. */
  open(deployment: Deployment): BackendSession;
}
