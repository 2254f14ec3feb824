/** Releasing: owner-checked, on every backend, and owed where the answer did not come. */
import type { BackendSession, ReleaseReply } from "../backend.js";
import type { Confirmation } from "../engine/extension.js";
import { after, instant, type System, type Timer } from "../engine/time.js";
import type { BackendError } from "../errors.js";
import type { ReleaseOutcome } from "./events.js";
import type { Debt, Link, Question } from "./link.js";
import { listOf } from "./list-of.js";
import type { Quorum } from "./poll.js";

/**
 * What one attempt may have put on some backend, and all that a lease keeps of its attempt. A process may hold a hundred
 * thousand: what is known of each backend is a bit, or lies in a list without an object of its own.
 */
export interface Claim {
  readonly key: string;
  readonly owner: string;
  /** The longest TTL asked for so far. */
  ttlMsMax: number;
  /** Bit i: backend i granted after the claim was given up. */
  lateGrants: number;
  /** Bit i: backend i had nothing to release. */
  denials: number;
  /** Bit i: nothing that could lock was ever sent to backend i, so that it has nothing to release. */
  untouched: number;
  /** An extension was sent, which may lock any backend, whatever the acquire came to there. */
  extended: boolean;
  /** Bit i: an extension created the lock anew on backend i, perhaps ahead of its acquire that is still on its way. */
  recreated: number;
  /** Set once its lease is over: what is granted after that is released at once. */
  over: boolean;
  /** When each backend last confirmed it; not a number where it never did. See {@link confirmation}. */
  readonly confirmedAt: number[];
  /** Which memory of each backend last confirmed it. */
  readonly confirmedBy: (string | undefined)[];
}

/** The claim of an attempt on `n` backends that nobody has answered. */
export function createClaim(
  { key, owner, ttlMs }: { readonly key: string; readonly owner: string; readonly ttlMs: number },
  n: number,
): Claim {
  return {
    key,
    owner,
    ttlMsMax: ttlMs,
    lateGrants: 0,
    denials: 0,
    untouched: 0,
    extended: false,
    recreated: 0,
    over: false,
    confirmedAt: listOf<number>(n, Number.NaN),
    confirmedBy: listOf<string | undefined>(n, undefined),
  };
}

/** Takes note that backend number `index` confirmed the claim. */
export function confirmed(claim: Claim, index: number, { at, incarnation }: Confirmation): void {
  claim.confirmedAt[index] = at;
  claim.confirmedBy[index] = incarnation;
}

/** What backend number `index` last said about the claim. */
export function confirmation(claim: Claim, index: number): Confirmation | undefined {
  const at = claim.confirmedAt[index];
  if (at === undefined || Number.isNaN(at)) return undefined;
  return { at: instant(at), incarnation: claim.confirmedBy[index] };
}

/** A release that is sent until it was answered, or until the lock must have ended by itself. */
export function releaseDebt(system: System, claim: Claim): Debt {
  return {
    id: `release ${claim.owner}`,
    // Two requests that were executed late may each have made the lock anew, with the release of the first in between.
    anew: true,
    // A request that is still on its way may be executed any time; twice the TTL covers all but the oddest network.
    until: after(system.now(), 2 * claim.ttlMsMax),
    pay: (session) => session.release(claim.key, claim.owner),
  };
}

/**
 * Takes note of a grant that came after its claim was given up. On most connections the release behind it has taken
 * it back already; only where that release found nothing, or may have found what an extension had created anew, was it executed first, and
 * must be sent again.
 */
export function grantedLate(system: System, claim: Claim, link: Link): void {
  const bit = 1 << link.index;
  claim.lateGrants |= bit;
  if (((claim.denials | claim.recreated) & bit) !== 0) link.owe(releaseDebt(system, claim));
}

/** Takes note that a backend had nothing to release; see {@link grantedLate}. */
export function releaseDenied(system: System, claim: Claim, link: Link): void {
  claim.denials |= 1 << link.index;
  if ((claim.lateGrants & (1 << link.index)) !== 0) link.owe(releaseDebt(system, claim));
}

/**
 * Sends a release to all backends. Resolves as soon as the outcome is known, or after `deadlineMs`; never rejects.
 * Backends that do not answer are told again later.
 */
export function releaseEverywhere(quorum: Quorum, claim: Claim, deadlineMs: number): Promise<ReleaseOutcome> {
  return new Promise((resolve) => new RunningRelease(quorum, claim, resolve).start(deadlineMs));
}

/** Of which a busy locker has very many, as of attempts. */
class RunningRelease implements Question<ReleaseReply> {
  readonly #quorum: Quorum;
  readonly #claim: Claim;
  /** Undefined once the outcome is known. */
  #resolve: ((outcome: ReleaseOutcome) => void) | undefined;
  #timer: Timer | undefined;
  #released = 0;
  #denied = 0;
  #pending: number;

  constructor(quorum: Quorum, claim: Claim, resolve: (outcome: ReleaseOutcome) => void) {
    this.#quorum = quorum;
    this.#claim = claim;
    this.#resolve = resolve;
    this.#pending = quorum.links.length;
  }

  start(deadlineMs: number): void {
    const { links, system } = this.#quorum;
    this.#timer = system.startTimer("work", deadlineMs, () => this.#settle("unknown"));
    for (const link of links) {
      if ((this.#claim.untouched & (1 << link.index)) === 0) link.ask(this);
      else this.#pending--;
    }
  }

  ask(session: BackendSession): Promise<ReleaseReply> {
    return session.release(this.#claim.key, this.#claim.owner);
  }

  onReply(reply: ReleaseReply, link: Link): void {
    this.#pending--;
    if (reply === "released") this.#released++;
    else {
      this.#denied++;
      releaseDenied(this.#quorum.system, this.#claim, link);
    }
    this.#decide();
  }

  onFault(_fault: BackendError, link: Link): void {
    this.#pending--;
    link.owe(releaseDebt(this.#quorum.system, this.#claim));
    this.#decide();
  }

  #decide(): void {
    const { links, quorum } = this.#quorum;
    if (this.#released >= quorum) this.#settle("released");
    else if (this.#denied > links.length - quorum) this.#settle("not-owner");
    else if (this.#pending === 0) this.#settle("unknown");
  }

  #settle(outcome: ReleaseOutcome): void {
    if (this.#resolve === undefined) return;
    if (this.#timer !== undefined) this.#quorum.system.cancelTimer(this.#timer);
    this.#resolve(outcome);
    this.#resolve = undefined;
  }
}
