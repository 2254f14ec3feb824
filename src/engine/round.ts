/**
 * One attempt over all backends, as a value. No clock runs in it and nothing is sent by it: the locker casts what
 * backends answered and asks for the verdict.
 *
 * The rule (Redlock's majority, with a token minted by the quorum): at the q-th grant the token is fixed as the
 * largest fence granted so far. A backend is *known* to remember the token when it minted exactly that number, or
 * confirmed a raise to it. The attempt is won when q backends are known while validity lasts. Two quorums share a
 * backend, and a later attempt gets more than the token from that one.
 */
import { assert, unreachable } from "./assert.js";
import { replaced } from "./replaced.js";
import type { Instant } from "./time.js";
import { higherFence } from "./token.js";

/** One backend's answer to an acquire. A fault's effect is unknown: it may still be executed later. */
export type Vote =
  | { readonly kind: "granted"; readonly fence: bigint }
  | {
      readonly kind: "held";
      readonly remainingMs: number | undefined;
      /** Kept for somebody who is called: it says nothing of when the key is free. */
      readonly reserved?: true;
    }
  | { readonly kind: "quarantined"; readonly remainingMs: number }
  | { readonly kind: "fault" };

/** One backend's answer to a raise. */
export type RaiseVote = "raised" | "refused" | "fault";

/** "lost" means: cannot win any more, whatever else arrives. */
export type Verdict = "pending" | "won" | "lost";

/** Where one backend stands in the round. All but the first four are final. */
export type Seat =
  /** has not answered */
  | "waiting"
  /** granted, and the token is not fixed yet */
  | "granted"
  /** granted less than the token: a raise is due */
  | "behind"
  /** a raise was sent */
  | "raising"
  /** remembers the token */
  | "known"
  /** granted more than the token, after it was fixed; never counts */
  | "ahead"
  | "held"
  | "quarantined"
  /** did not answer in time, or failed; also a raise that failed */
  | "fault"
  /** refused the raise: the lock there is gone or another's */
  | "refused";

/** One attempt. Values are replaced, never edited. */
export interface Round {
  readonly quorum: number;
  /** When a lease won by this round ends, by the local clock. */
  readonly validUntil: Instant;
  readonly seats: readonly Seat[];
  /** For how long the lock of another, or the quarantine, lasts there; undefined where unknown. */
  readonly remainingMs: readonly (number | undefined)[];
  /** The grants that came before the token was fixed. */
  readonly fences: readonly (bigint | undefined)[];
  /** The token; fixed at the q-th grant. */
  readonly token: bigint | undefined;
}

/** A round in which nobody has answered. */
export function startRound(n: number, quorum: number, validUntil: Instant): Round {
  const { seats, nothing } = blankFor(n);
  return { quorum, validUntil, seats, remainingMs: nothing, fences: nothing, token: undefined };
}

interface Blank {
  readonly seats: readonly Seat[];
  readonly nothing: readonly undefined[];
}

/** By the number of backends: lists are never edited, so all rounds begin with the same ones. */
const blanks = new Map<number, Blank>();

function blankFor(n: number): Blank {
  const known = blanks.get(n);
  if (known !== undefined) return known;
  const seats = new Array<Seat>(n).fill("waiting");
  const blank = { seats, nothing: new Array<undefined>(n).fill(undefined) };
  blanks.set(n, blank);
  return blank;
}

/**
 * The round after backend number `index` answered. Only the first answer of a backend counts: a second grant with
 * another fence comes from a duplicated request that created the lock anew, and counting it would let two attempts
 * end with one token.
 */
export function castVote(round: Round, index: number, vote: Vote): Round {
  if (seatOf(round, index) !== "waiting") return round;
  switch (vote.kind) {
    case "granted":
      return castGrant(round, index, vote.fence);
    case "held":
      return refusedBy(round, index, vote.reserved === true ? { ...vote, remainingMs: undefined } : vote);
    case "quarantined":
      return refusedBy(round, index, vote);
    case "fault":
      return withSeat(round, index, "fault");
    default:
      return unreachable(vote);
  }
}

function castGrant(round: Round, index: number, fence: bigint): Round {
  if (round.token !== undefined) return withSeat(round, index, seatForLateFence(fence, round.token));
  const fences = replaced(round.fences, index, fence);
  const seats = replaced(round.seats, index, "granted");
  const { quorum, validUntil, remainingMs } = round;
  if (count(seats, "granted") < quorum) {
    return { quorum, validUntil, seats, remainingMs, fences, token: undefined };
  }
  let token = fence;
  for (const granted of fences) if (granted !== undefined) token = higherFence(token, granted);
  const placed = seats.map((seat, i): Seat =>
    seat === "granted" ? (fences[i] === token ? "known" : "behind") : seat,
  );
  return { quorum, validUntil, seats: placed, remainingMs, fences, token };
}

function seatForLateFence(fence: bigint, token: bigint): Seat {
  if (fence === token) return "known";
  return fence < token ? "behind" : "ahead";
}

/** The backends to which a raise to the token must be sent now. */
export function dueRaises(round: Round): readonly number[] {
  return round.seats.includes("behind") ? indexesOf(round, (seat) => seat === "behind") : NONE;
}

/** The round after a raise was sent to backend number `index`. */
export function raiseSent(round: Round, index: number): Round {
  assert(seatOf(round, index) === "behind", "a raise is sent only where one is due");
  return withSeat(round, index, "raising");
}

/** The round after backend number `index` answered a raise. */
export function castRaise(round: Round, index: number, vote: RaiseVote): Round {
  if (seatOf(round, index) !== "raising") return round;
  switch (vote) {
    case "raised":
      return withSeat(round, index, "known");
    case "refused":
    case "fault":
      return withSeat(round, index, vote);
    default:
      return unreachable(vote);
  }
}

/** The round after the deadline: whoever still owes an answer counts as a fault. */
export function giveUp(round: Round): Round {
  const seats = round.seats.map((seat) => (seat === "waiting" || seat === "raising" ? "fault" : seat));
  return withSeats(round, seats);
}

/** Whether the attempt is decided at `now`. Validity must still run when it is won: a late majority is none. */
export function verdict(round: Round, now: Instant): Verdict {
  let known = 0;
  let possible = 0;
  for (const seat of round.seats) {
    if (seat === "known") known++;
    else if (seat === "waiting" || seat === "granted" || seat === "behind" || seat === "raising") possible++;
  }
  if (now >= round.validUntil) return "lost";
  if (known >= round.quorum) return "won";
  return known + possible < round.quorum ? "lost" : "pending";
}

/**
 * The backends that get a release when the attempt is given up: all but those that said that they granted nothing, since
 * another has the lock or they do not vote. Those that did not answer get one too, since a request whose reply was lost
 * may be executed later.
 */
export function toRelease(round: Round): readonly number[] {
  return indexesOf(round, (seat) => seat !== "held" && seat !== "quarantined");
}

/** Why an attempt was lost. */
export type RefusalReason = "held" | "no-quorum" | "quarantined";

/**
 * "held": enough backends voted or may yet vote, and somebody else has votes. "quarantined": enough answered, but some
 * may not vote yet. "no-quorum": fewer than a quorum answered at all, or not in time. A round is often lost before all
 * have answered: those count as able to vote until {@link giveUp}.
 */
export function refusalReason(round: Round): RefusalReason {
  let voting = 0;
  let held = 0;
  let quarantined = 0;
  for (const seat of round.seats) {
    if (seat === "quarantined") quarantined++;
    else if (seat !== "fault") voting++;
    if (seat === "held") held++;
  }
  if (held > 0 && voting >= round.quorum) return "held";
  if (quarantined > 0 && voting + quarantined >= round.quorum) return "quarantined";
  return "no-quorum";
}

/**
 * In how many milliseconds a quorum could be free, going by what backends said; undefined when too few of them
 * answered to tell.
 */
export function freeInMs(round: Round): number | undefined {
  const waits: number[] = [];
  round.seats.forEach((seat, i) => {
    if (seat === "held" || seat === "quarantined") {
      const remaining = round.remainingMs[i];
      if (remaining !== undefined) waits.push(remaining);
    } else if (seat !== "waiting" && seat !== "fault") waits.push(0);
  });
  waits.sort((a, b) => a - b);
  return waits[round.quorum - 1];
}

const NONE: readonly number[] = [];

function refusedBy(
  round: Round,
  index: number,
  vote: { readonly kind: "held" | "quarantined"; readonly remainingMs: number | undefined },
): Round {
  const { quorum, validUntil, fences, token } = round;
  const seats = replaced(round.seats, index, vote.kind);
  const remainingMs = replaced(round.remainingMs, index, vote.remainingMs);
  return { quorum, validUntil, seats, remainingMs, fences, token };
}

function seatOf(round: Round, index: number): Seat {
  const seat = round.seats[index];
  assert(seat !== undefined, "votes come from the round's own backends");
  return seat;
}

function withSeat(round: Round, index: number, seat: Seat): Round {
  return withSeats(round, replaced(round.seats, index, seat));
}

/** Every field is named, here and above: it is done for every answer, and to spread one out costs ten times as much. */
function withSeats({ quorum, validUntil, remainingMs, fences, token }: Round, seats: readonly Seat[]): Round {
  return { quorum, validUntil, seats, remainingMs, fences, token };
}

function count(seats: readonly Seat[], wanted: Seat): number {
  let n = 0;
  for (const seat of seats) if (seat === wanted) n++;
  return n;
}

function indexesOf(round: Round, wanted: (seat: Seat) => boolean): readonly number[] {
  const indexes: number[] = [];
  round.seats.forEach((seat, i) => {
    if (wanted(seat)) indexes.push(i);
  });
  return indexes;
}
