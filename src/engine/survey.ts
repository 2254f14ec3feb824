/**
 * What a key's records on all backends amount to, for people: who holds it, what is left over, and what cannot be told.
 * Never used to decide about a lease.
 */
import { higherFence } from "./token.js";

/**
 * What one backend showed of a key. "doubtful": it may not vote yet, since its memory is new, and it may have forgotten a
 * lock that is still in use.
 */
export type KeySighting =
  | {
      readonly kind: "locked";
      readonly owner: string;
      readonly fence: bigint;
      readonly counter: bigint;
      readonly remainingMs: number;
      readonly doubtful: boolean;
    }
  | { readonly kind: "free"; readonly counter: bigint; readonly doubtful: boolean }
  | { readonly kind: "fault" };

/**
 * "held": one owner has live locks on at least q backends. "contended": two or more owners have some, none can have q.
 * "orphan": one owner has some and cannot have q: what is left of an attempt that died, or of a lease that lost
 * backends. "free": nobody has any, nor can have q. "unknown": somebody may have q, if the backends that did not
 * answer, or whose memory is new, had his lock.
 */
export type KeyState = "held" | "contended" | "orphan" | "free" | "unknown";

/**
 * "holder": its owner has q backends. "possible-holder": may have, in a state that is unknown. "ghost": cannot have,
 * while another has or may have. "rival", "orphan": as in {@link KeyState}.
 */
export type LockRole = "holder" | "possible-holder" | "ghost" | "rival" | "orphan";

/** The sum of all sightings of one key. */
export interface Survey {
  readonly state: KeyState;
  /** The holder; in an orphan its owner; else undefined, also where only one owner was seen and may be the holder. */
  readonly owner: string | undefined;
  /**
   * The holder's token, where it shows: a number that q of its backends remember and that one of them granted.
   * Undefined otherwise, for instance when an operator lifted the counters meanwhile.
   */
  readonly token: bigint | undefined;
  /** Held: until fewer than q backends have it. Else until the last lock that was seen ends; undefined without one. */
  readonly remainingMs: number | undefined;
  /** The highest that was seen; 0 when there is none. */
  readonly counter: bigint;
  /** Of the lock on each backend; undefined where none was seen. */
  readonly roles: readonly (LockRole | undefined)[];
}

type Locked = Extract<KeySighting, { kind: "locked" }>;

/** Sums up what the backends showed; the order of `seen` is that of {@link Survey.roles}. */
export function survey(seen: readonly KeySighting[], quorum: number): Survey {
  const locks = seen.filter((each): each is Locked => each.kind === "locked");
  const owners = [...new Set(locks.map(({ owner }) => owner))];
  const holder = owners.find((owner) => ownedBy(locks, owner).length >= quorum);
  const possible = new Set(owners.filter((owner) => most(seen, owner) >= quorum));
  const state = stateOf({ holder, owners, unknown: possible.size > 0 || most(seen, undefined) >= quorum });
  const held = holder === undefined ? undefined : ownedBy(locks, holder);
  let counter = 0n;
  for (const each of seen) if (each.kind !== "fault") counter = higherFence(counter, each.counter);
  return {
    state,
    owner: holder ?? (state === "orphan" ? owners[0] : undefined),
    token: held && tokenOf(held, quorum),
    remainingMs: nthLargest(held ?? locks, held === undefined ? 1 : quorum),
    counter,
    roles: seen.map((each) =>
      each.kind === "locked" ? roleOf(each.owner, { state, holder, possible }) : undefined,
    ),
  };
}

function stateOf(of: {
  readonly holder: string | undefined;
  readonly owners: readonly string[];
  readonly unknown: boolean;
}): KeyState {
  if (of.holder !== undefined) return "held";
  if (of.unknown) return "unknown";
  if (of.owners.length === 0) return "free";
  return of.owners.length === 1 ? "orphan" : "contended";
}

/** On how many backends an owner may have a lock; for undefined, one of whom nothing was seen. */
function most(seen: readonly KeySighting[], owner: string | undefined): number {
  return seen.filter(
    (each) => each.kind === "fault" || each.doubtful || (each.kind === "locked" && each.owner === owner),
  ).length;
}

function ownedBy(locks: readonly Locked[], owner: string): readonly Locked[] {
  return locks.filter((each) => each.owner === owner);
}

function tokenOf(held: readonly Locked[], quorum: number): bigint | undefined {
  return held.find(({ fence }) => held.filter(({ counter }) => counter === fence).length >= quorum)?.fence;
}

function nthLargest(locks: readonly Locked[], nth: number): number | undefined {
  return locks.map(({ remainingMs }) => remainingMs).sort((a, b) => b - a)[nth - 1];
}

function roleOf(
  owner: string,
  of: {
    readonly state: KeyState;
    readonly holder: string | undefined;
    readonly possible: ReadonlySet<string>;
  },
): LockRole {
  switch (of.state) {
    case "held":
      return owner === of.holder ? "holder" : "ghost";
    case "unknown":
      return of.possible.has(owner) ? "possible-holder" : "ghost";
    case "contended":
      return "rival";
    case "orphan":
    case "free":
      return "orphan";
  }
}
