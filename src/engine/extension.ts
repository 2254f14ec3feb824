/**
 * One extension round of a held lease, as a value. It counts only when q backends confirmed it *in this round* while
 * the old validity still ran: between its end and a late answer somebody else may have come and gone.
 */
import { assert } from "./assert.js";
import { replaced } from "./replaced.js";
import { elapsedMs, type Instant } from "./time.js";

/** One backend's answer to an extend. A fault's effect is unknown. */
export type ExtendVote = "extended" | "recreated" | "not-owner" | "quarantined" | "fault";

/** "forced-out": so many backends deny the lease that it can have no quorum any more. "expired": too late. */
export type ExtensionVerdict = "pending" | "extended" | "failed" | "forced-out" | "expired";

/** One extension round. Values are replaced, never edited. */
export interface Extension {
  readonly quorum: number;
  /** When the lease ends if this round fails. */
  readonly validUntil: Instant;
  readonly votes: readonly (ExtendVote | undefined)[];
}

/** A round in which nobody has answered. */
export function startExtension(n: number, quorum: number, validUntil: Instant): Extension {
  return { quorum, validUntil, votes: new Array<undefined>(n).fill(undefined) };
}

/** The round after backend number `index` answered; only its first answer counts. */
export function castExtend(extension: Extension, index: number, vote: ExtendVote): Extension {
  assert(index >= 0 && index < extension.votes.length, "votes come from the round's own backends");
  if (extension.votes[index] !== undefined) return extension;
  return { ...extension, votes: replaced(extension.votes, index, vote) };
}

/** The round after the vote of backend number `index` turned out to be that of another one. */
export function revokeExtend(extension: Extension, index: number): Extension {
  const vote = extension.votes[index];
  if (vote === undefined || vote === "fault") return extension;
  return { ...extension, votes: replaced(extension.votes, index, "fault") };
}

/** Whether the round is decided at `now`. */
export function extensionVerdict(extension: Extension, now: Instant): ExtensionVerdict {
  let confirmed = 0;
  let denied = 0;
  let pending = 0;
  for (const vote of extension.votes) {
    if (vote === "extended" || vote === "recreated") confirmed++;
    else if (vote === "not-owner") denied++;
    else if (vote === undefined) pending++;
  }
  if (denied > extension.votes.length - extension.quorum) return "forced-out";
  if (now >= extension.validUntil) return "expired";
  if (confirmed >= extension.quorum) return "extended";
  return confirmed + pending < extension.quorum ? "failed" : "pending";
}

/** What one backend last said about a lease. */
export interface Confirmation {
  /** When its answer came: the lock there lives at most a TTL from then. */
  readonly at: Instant;
  /** The memory that confirmed it; undefined where that is not known, so that another one does not show. */
  readonly incarnation: string | undefined;
}

/**
 * Whether an extension may create the lock anew on a backend where it is missing: only where this lease was never
 * confirmed, or by a memory that is gone, or not for a whole TTL. A lock that vanished from a healthy backend was
 * taken away (forced release, eviction, an operator), and putting it back would undo that.
 */
export function mayHeal(
  confirmation: Confirmation | undefined,
  incarnation: string | undefined,
  since: { readonly now: Instant; readonly ttlMs: number },
): boolean {
  if (confirmation === undefined) return true;
  const { incarnation: confirmed } = confirmation;
  if (incarnation !== undefined && confirmed !== undefined && incarnation !== confirmed) return true;
  return elapsedMs(confirmation.at, since.now) >= since.ttlMs;
}
