/**
 * Whether a lease that another process handed over still exists, as a value. What the other process says of time counts
 * for nothing; only what backends show now does. A backend vouches for the lease when it has a live lock of its owner
 * and remembers exactly its token: any grant after it would have counted on from there. With q that vouch, nobody else won
 * in between, since his quorum would have shared a backend with them.
 */
import { assert, unreachable } from "./assert.js";
import { replaced } from "./replaced.js";
import { after, type Instant } from "./time.js";
import { validityMs, type ClockBounds } from "./validity.js";

/** What one backend showed of the key. A quarantined one may show a record that it got from a backup. */
export type LeaseSighting =
  | {
      readonly kind: "locked";
      readonly owner: string;
      readonly counter: bigint;
      readonly remainingMs: number;
    }
  | { readonly kind: "free" | "quarantined" | "fault" };

/** What a backend says about the lease. "cannot-tell": it does not know, or nobody knows what it says. */
export type Testimony = "vouches" | "denies" | "cannot-tell";

/** "denied": so many backends deny the lease that it can have no quorum. "no-quorum": too few can tell. */
export type AdoptionVerdict =
  | { readonly kind: "pending" | "denied" | "no-quorum" }
  | {
      readonly kind: "vouched";
      /** How long q of the locks last, as their backends said. */
      readonly remainingMs: number;
    };

/** The lease as it was handed over, and what was seen of it. Values are replaced, never edited. */
export interface Adoption {
  readonly quorum: number;
  readonly owner: string;
  readonly token: bigint;
  readonly seen: readonly (LeaseSighting | undefined)[];
}

/** Nothing seen yet, on `n` backends. */
export function startAdoption(
  n: number,
  lease: { readonly quorum: number; readonly owner: string; readonly token: bigint },
): Adoption {
  return { ...lease, seen: new Array<undefined>(n).fill(undefined) };
}

/** The adoption after backend number `index` showed what it has; only its first answer counts. */
export function castSighting(adoption: Adoption, index: number, sighting: LeaseSighting): Adoption {
  assert(index >= 0 && index < adoption.seen.length, "sightings come from the adoption's own backends");
  if (adoption.seen[index] !== undefined) return adoption;
  return { ...adoption, seen: replaced(adoption.seen, index, sighting) };
}

/**
 * What a sighting says about the lease. A backend that remembers less than the token is none of those with which the
 * lease was won: it does not count, but it denies nothing either.
 */
export function testimony(
  sighting: LeaseSighting,
  lease: { readonly owner: string; readonly token: bigint },
): Testimony {
  switch (sighting.kind) {
    case "locked":
      if (sighting.owner !== lease.owner || sighting.counter > lease.token) return "denies";
      return sighting.counter === lease.token ? "vouches" : "cannot-tell";
    case "free":
      return "denies";
    case "quarantined":
    case "fault":
      return "cannot-tell";
    default:
      return unreachable(sighting);
  }
}

/** Whether it is decided: as soon as q backends vouch, or can no longer. */
export function adoptionVerdict(adoption: Adoption): AdoptionVerdict {
  const { seen, quorum } = adoption;
  const remaining: number[] = [];
  let denied = 0;
  let pending = 0;
  for (const sighting of seen) {
    const said = sighting && testimony(sighting, adoption);
    if (said === undefined) pending++;
    else if (said === "denies") denied++;
    else if (said === "vouches" && sighting?.kind === "locked") remaining.push(sighting.remainingMs);
  }
  if (denied > seen.length - quorum) return DENIED;
  const remainingMs = remaining.sort((a, b) => b - a)[quorum - 1];
  if (remainingMs !== undefined) return { kind: "vouched", remainingMs };
  return remaining.length + pending < quorum ? NO_QUORUM : PENDING;
}

const PENDING: AdoptionVerdict = { kind: "pending" };
const DENIED: AdoptionVerdict = { kind: "denied" };
const NO_QUORUM: AdoptionVerdict = { kind: "no-quorum" };

/**
 * When an adopted lease ends unless it is extended. `askedAt` is before the first question, and what remains was measured
 * after it, by the backend's clock: so it is bounded like a TTL that began then. `statedMs` is what the other process
 * said; it can only shorten.
 */
export function adoptedUntil(
  askedAt: Instant,
  of: { readonly remainingMs: number; readonly statedMs: number },
  bounds: ClockBounds,
): Instant {
  return after(askedAt, Math.min(validityMs(of.remainingMs, bounds), of.statedMs));
}
