/** Adopting a lease that another process handed over (engine/adoption.ts): looking, then one extension round. */
import type { KeyRecord, StatusReply } from "../backend.js";
import {
  adoptedUntil,
  adoptionVerdict,
  castSighting,
  startAdoption,
  testimony,
  type Adoption,
  type LeaseSighting,
} from "../engine/adoption.js";
import { assert } from "../engine/assert.js";
import { requestDeadlineMs } from "../engine/schedule.js";
import { after, elapsedMs, latest, type Instant } from "../engine/time.js";
import { validityMs } from "../engine/validity.js";
import {
  BackendError,
  LeaseLostError,
  NoQuorumError,
  show,
  type QuorumLockError,
  type VoteReport,
} from "../errors.js";
import type { ResolvedAcquire } from "../options.js";
import { refuseInterrupted } from "./acquire.js";
import { ask, askStatus, type Answer, type Inquiry } from "./ask.js";
import { extendEverywhere } from "./extend.js";
import type { HandedLease } from "./hand-over.js";
import type { Link } from "./link.js";
import { report, type Grant, type Quorum } from "./poll.js";
import { confirmed, createClaim, type Claim } from "./release.js";
import { either, orInterrupted, type Interruption } from "./waiting.js";

/** What an adoption needs of its locker. */
export interface AdoptContext {
  readonly quorum: Quorum;
  readonly closing: Interruption;
  readonly maxTtlMs: number;
}

/**
 * Adopts the lease, or changes nothing but, at most, the end of its locks: what is refused is not released, since it may
 * be somebody's. Rejects with `LEASE_LOST` when so many backends deny the lease that it can have no quorum, or when its
 * validity ended; with `NO_QUORUM` when too few of them can tell; with `ABORTED`, `CLOSED` or the problem of the deployment.
 */
export async function adoptGrant(
  context: AdoptContext,
  handed: HandedLease,
  options: Omit<ResolvedAcquire, "waitMs">,
): Promise<Grant> {
  const { quorum, closing } = context;
  const { system, clockBounds } = quorum;
  const interruption = either(closing, options.signal);
  const refuse = (): void => refuseInterrupted(closing, handed.key, options.signal);
  refuse();
  const inquiry: Inquiry = { quorum, closing, deadlineMs: requestDeadlineMs(options.ttlMs) };
  const askedAt = system.look();
  const looked = await orInterrupted(lookAround(inquiry, handed), interruption);
  refuse();
  assert(looked !== undefined, "what interrupts an adoption is known to the error for it");
  const remainingMs = vouchedMs(handed, looked, elapsedMs(askedAt, system.now()));
  const validUntil = adoptedUntil(askedAt, { remainingMs, statedMs: handed.remainingMs }, clockBounds);
  const { key, owner } = handed;
  const claim = createClaim({ key, owner, ttlMs: context.maxTtlMs }, quorum.links.length);
  confirm(claim, looked.looks, askedAt);
  const sentAt = system.look();
  const extending = extendEverywhere(quorum, {
    // Not over, whatever comes: what is refused here is not released.
    claim,
    token: handed.token,
    ttlMs: options.ttlMs,
    sentAt,
    validUntil,
  });
  const outcome = await orInterrupted(extending, interruption);
  refuse();
  assert(outcome !== undefined, "what interrupts an adoption is known to the error for it");
  switch (outcome.kind) {
    case "extended": {
      const extendedUntil = after(sentAt, validityMs(options.ttlMs, clockBounds));
      return {
        claim,
        token: handed.token,
        ttlMs: options.ttlMs,
        wonAt: askedAt,
        validUntil: latest(validUntil, extendedUntil),
        votes: outcome.votes,
      };
    }
    case "forced-out":
      throw new LeaseLostError(handed, "forced-out");
    case "over":
      throw new LeaseLostError(handed, "expired");
    case "failed":
      throw noQuorum(handed, outcome.votes(), elapsedMs(askedAt, system.now()));
  }
}

/** What one backend has of the key, and who it is. */
interface Look {
  readonly link: Link;
  readonly status: Answer<StatusReply>;
  readonly record: Answer<KeyRecord>;
  readonly elapsedMs: number;
}

interface Looked {
  readonly adoption: Adoption;
  /** Of each backend that answered or failed by then. */
  readonly looks: readonly (Look | undefined)[];
  readonly votes: () => readonly VoteReport[];
}

/** Asks all backends; resolves as soon as it is decided. Rejects with `CLOSED` or the problem of the deployment. */
function lookAround(inquiry: Inquiry, handed: HandedLease): Promise<Looked> {
  const { links, quorum, system, contact } = inquiry.quorum;
  const startedAt = system.now();
  return new Promise((resolve, reject) => {
    let adoption = startAdoption(links.length, { ...handed, quorum });
    let looks = new Array<Look | undefined>(links.length).fill(undefined);

    function onLook(look: Look): void {
      looks = looks.with(look.link.index, look);
      adoption = castSighting(adoption, look.link.index, sighting(look));
      const problem: QuorumLockError | undefined = contact.problem();
      if (problem !== undefined) reject(problem);
      else if (adoptionVerdict(adoption).kind !== "pending") resolve({ adoption, looks, votes });
    }

    function votes(): readonly VoteReport[] {
      const elapsed = elapsedMs(startedAt, system.now());
      return links.map((link, i) => vote(link, handed, looks[i]) ?? report(link, undefined, elapsed));
    }

    for (const link of links) {
      const asked = Promise.all([
        askStatus(inquiry, link),
        ask(inquiry, link, (session) => session.inspect(handed.key)),
      ]);
      asked.then(([status, record]) => {
        onLook({ link, status, record, elapsedMs: elapsedMs(startedAt, system.now()) });
      }, reject);
    }
  });
}

function sighting({ status, record }: Look): LeaseSighting {
  if (status.kind === "fault" || record.kind === "fault") return { kind: "fault" };
  if (status.reply.kind === "quarantined") return { kind: "quarantined" };
  const { lock, counter } = record.reply;
  return lock === undefined ? { kind: "free" } : { kind: "locked", ...lock, counter };
}

function vote(link: Link, handed: HandedLease, look: Look | undefined): VoteReport | undefined {
  if (look === undefined) return undefined;
  const { status, record } = look;
  const common = { backend: link.backend.name, elapsedMs: look.elapsedMs };
  if (status.kind === "fault") return report(link, status.error, look.elapsedMs);
  if (record.kind === "fault") return report(link, record.error, look.elapsedMs);
  if (status.reply.kind === "quarantined") {
    return { ...common, vote: "quarantined", remainingMs: status.reply.remainingMs };
  }
  switch (testimony(sighting(look), handed)) {
    case "vouches":
      return { ...common, vote: "confirmed" };
    case "denies":
      return { ...common, vote: "denied" };
    case "cannot-tell": {
      const what = "it has the lock, but does not remember the token";
      const error = new BackendError("BACKEND_REFUSED", { backend: link.backend.name, what });
      return { ...common, vote: "fault", code: error.code, error };
    }
  }
}

/** For how long the locks of a quorum last; throws when there is none. */
function vouchedMs(handed: HandedLease, { adoption, votes, looks }: Looked, waitedMs: number): number {
  const verdict = adoptionVerdict(adoption);
  switch (verdict.kind) {
    case "vouched":
      return verdict.remainingMs;
    case "denied":
      throw new LeaseLostError(handed, "forced-out", { what: deniedText(handed, looks) });
    case "no-quorum":
    case "pending":
      throw noQuorum(handed, votes(), waitedMs);
  }
}

function noQuorum(handed: HandedLease, votes: readonly VoteReport[], waitedMs: number): NoQuorumError {
  const hint = `its lease with token ${handed.token} was not adopted, and ends by itself unless that is repeated in time`;
  return new NoQuorumError({ key: handed.key, votes, attempts: 1, waitedMs, retryAfterMs: undefined }, hint);
}

function deniedText(handed: HandedLease, looks: readonly (Look | undefined)[]): string {
  const reasons = looks.flatMap((look) => {
    if (look === undefined) return [];
    const seen = sighting(look);
    if (testimony(seen, handed) !== "denies") return [];
    const why =
      seen.kind !== "locked"
        ? "has no lock"
        : seen.owner === handed.owner
          ? "remembers a newer token"
          : "has the lock of another owner";
    return [`${look.link.backend.name} ${why}`];
  });
  return (
    `lease of ${show(handed.key)} with token ${handed.token} cannot be adopted: it has ended, was released or taken ` +
    `away (${reasons.join("; ")})`
  );
}

/**
 * As if every backend had confirmed the lease just now: none of them gets its lock anew for a whole TTL, unless its
 * memory is another one by then. Where it is missing now it may have been taken away by force, also on those
 * that did not answer.
 */
function confirm(claim: Claim, looks: readonly (Look | undefined)[], at: Instant): void {
  looks.forEach((look, index) => {
    const incarnation = look?.status.kind === "reply" ? look.status.reply.identity.incarnation : undefined;
    confirmed(claim, index, { at, incarnation });
  });
}
