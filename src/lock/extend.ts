/** One extension round, run (engine/extension.ts). */
import type { ExtendReply } from "../backend.js";
import {
  castExtend,
  extensionVerdict,
  mayHeal,
  revokeExtend,
  startExtension,
  type ExtendVote,
} from "../engine/extension.js";
import { elapsedMs, type Instant } from "../engine/time.js";
import { requestDeadlineMs } from "../engine/schedule.js";
import type { BackendError, VoteReport } from "../errors.js";
import { Deadline } from "./deadline.js";
import type { Link } from "./link.js";
import { report, timeout, type Quorum } from "./poll.js";
import { confirmation, confirmed, grantedLate, releaseDebt, type Claim } from "./release.js";

/** How an extension round ended. "over": the lease ended meanwhile. */
export interface ExtensionOutcome {
  readonly kind: "extended" | "failed" | "forced-out" | "over";
  /** As far as they are known when it is called; most extensions are told to nobody. */
  readonly votes: () => readonly VoteReport[];
}

/** What is to be extended. */
export interface ExtensionRequest {
  readonly claim: Claim;
  readonly token: bigint;
  readonly ttlMs: number;
  /** Looked up before the call: the new validity counts from it. */
  readonly sentAt: Instant;
  /** The end that the lease has now. */
  readonly validUntil: Instant;
}

/** Sends extend to all backends; settles as soon as the verdict is known, and never rejects. */
export function extendEverywhere(quorum: Quorum, request: ExtensionRequest): Promise<ExtensionOutcome> {
  const { links, system, contact } = quorum;
  const { claim, token, ttlMs, sentAt } = request;
  const { key, owner } = claim;
  const contactClock = contact.clock();
  const answers = new Array<ExtendReply | BackendError | undefined>(links.length).fill(undefined);
  const answeredAt = new Array<number>(links.length).fill(0);
  const healAfterMs = claim.ttlMsMax;
  claim.untouched = 0;
  claim.extended = true;
  claim.ttlMsMax = Math.max(claim.ttlMsMax, ttlMs);
  let extension = startExtension(links.length, quorum.quorum, request.validUntil);

  return new Promise((resolve) => {
    let settled = false;

    function onReply(link: Link, reply: ExtendReply): void {
      const refused = contact.answered(link, contactClock, reply);
      note(link, refused ?? reply);
      if (reply.kind === "recreated") claim.recreated |= 1 << link.index;
      if (reply.kind === "extended" || reply.kind === "recreated") {
        // Created anew behind a release that may have found the lock of before, and said so.
        if (claim.over && reply.kind === "recreated") link.owe(releaseDebt(system, claim));
        else if (claim.over) grantedLate(system, claim, link);
        else if (refused === undefined) {
          confirmed(claim, link.index, { at: system.now(), incarnation: reply.identity.incarnation });
        }
      }
      cast(link, refused === undefined ? reply.kind : "fault");
    }

    function onFault(link: Link, fault: BackendError): void {
      contact.failed(link, fault);
      note(link, fault);
      cast(link, "fault");
    }

    function note(link: Link, answer: ExtendReply | BackendError): void {
      answers[link.index] = answer;
      answeredAt[link.index] = elapsedMs(sentAt, system.now());
    }

    function cast(link: Link, vote: ExtendVote): void {
      extension = castExtend(extension, link.index, vote);
      if (!settled) decide();
    }

    function decide(): void {
      // A vote that was cast before its backend turned out to be another's server does not count either.
      for (const { index, twin } of links) {
        if (twin !== undefined) extension = revokeExtend(extension, index);
      }
      let verdict = extensionVerdict(extension, system.now());
      // Once more by the clock that sees a suspend: it costs more, and only what counts needs it.
      if (verdict === "extended") verdict = extensionVerdict(extension, system.look());
      switch (verdict) {
        case "pending":
          return;
        case "extended":
        case "forced-out":
        case "failed":
          settle({ kind: verdict, votes: reports });
          return;
        case "expired":
          settle({ kind: "over", votes: reports });
      }
    }

    function settle(outcome: ExtensionOutcome): void {
      settled = true;
      deadline.cancel();
      resolve(outcome);
    }

    function reports(): readonly VoteReport[] {
      const elapsed = elapsedMs(sentAt, system.now());
      return links.map((link, index) => report(link, answers[index], answeredAt[index] || elapsed));
    }

    const deadlineMs = requestDeadlineMs(ttlMs);
    const deadline = new Deadline(system, { since: sentAt, deadlineMs }, giveUpNow);

    function giveUpNow(): void {
      for (const link of links) {
        if (settled || answers[link.index] !== undefined) continue;
        const fault = timeout(link, elapsedMs(sentAt, system.now()));
        link.timedOut(fault);
        onFault(link, fault);
      }
    }

    for (const link of links) {
      const heal = mayHeal(confirmation(claim, link.index), link.identity?.incarnation, {
        now: sentAt,
        ttlMs: healAfterMs,
      });
      link.send(
        (session) => session.extend({ key, owner, ttlMs, token, mayHeal: heal }),
        (reply) => onReply(link, reply),
        (fault) => onFault(link, fault),
      );
    }
  });
}
