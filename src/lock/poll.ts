/**
 * One attempt, run: sends acquire to all backends, casts their answers into a round (engine/round.ts), raises those
 * that minted less than the token, and settles as soon as the verdict is known. Stragglers are never awaited; what
 * they still answer is cast too, and what they may hold after a lost attempt is released.
 */
import type { AcquireReply, AcquireRequest, BackendSession, ExtendReply, Ticket } from "../backend.js";
import {
  castRaise,
  castVote,
  dueRaises,
  giveUp,
  raiseSent,
  startRound,
  toRelease,
  verdict,
  type RaiseVote,
  type Round,
  type Seat,
} from "../engine/round.js";
import { after, elapsedMs, type Instant, type System, type Timer } from "../engine/time.js";
import { validityMs, type ClockBounds } from "../engine/validity.js";
import { BackendError, type QuorumLockError, type VoteReport } from "../errors.js";
import type { Contact } from "./contact.js";
import { READ_MS, startDeadline, type Deadline } from "./deadline.js";
import type { Link } from "./link.js";
import { confirmed, createClaim, grantedLate, releaseDebt, releaseDenied, type Claim } from "./release.js";

/** What every round needs of its locker. */
export interface Quorum {
  readonly links: readonly Link[];
  readonly quorum: number;
  readonly clockBounds: ClockBounds;
  readonly system: System;
  readonly contact: Contact;
}

/** What an attempt asks for. */
export interface AttemptRequest {
  readonly key: string;
  readonly ttlMs: number;
  /** How long any backend may take, in milliseconds. */
  readonly deadlineMs: number;
  /** No other attempt follows when it is lost. */
  readonly triesOnce: boolean;
  /** The waiter's place in line. */
  readonly ticket?: Ticket | undefined;
  /** Hears of each backend that answers held after the attempt was won: the ticket stands in line there. */
  readonly onHeldLate?: ((link: Link) => void) | undefined;
}

/** A won attempt. Becomes a lease, which keeps the claim of it and nothing else: what ran the attempt is let go. */
export interface Grant {
  /** Edited in place as stragglers and extensions come in. */
  readonly claim: Claim;
  readonly token: bigint;
  /** The TTL that it was asked for with. */
  readonly ttlMs: number;
  readonly wonAt: Instant;
  readonly validUntil: Instant;
  readonly votes: () => readonly VoteReport[];
}

/** How an attempt ended. */
export type AttemptOutcome =
  | { readonly kind: "won"; readonly grant: Grant }
  | {
      readonly kind: "lost";
      readonly round: Round;
      readonly votes: readonly VoteReport[];
      /** Whether a backend is known by now to have granted, so that its vote was given back. */
      readonly gaveBack: (link: Link) => boolean;
      /** Why nothing may be granted to this locker at all. */
      readonly problem: QuorumLockError | undefined;
    };

/** A running attempt. */
export interface Attempt {
  readonly outcome: Promise<AttemptOutcome>;
  /** Ends it as lost, now. */
  readonly abandon: () => void;
}

/** Starts an attempt with a fresh owner and a fresh proposal. */
export function startAttempt(quorum: Quorum, request: AttemptRequest): Attempt {
  const { links, system, contact } = quorum;
  const { key, ttlMs } = request;
  const owner = system.newOwner();
  const proposal = system.propose();
  const claim = createClaim({ key, owner, ttlMs }, links.length);
  const startedAt = system.now();
  const sentAt = contact.clock();
  const answers = new Array<AcquireReply | BackendError | undefined>(links.length).fill(undefined);
  const answeredAt = new Array<number>(links.length).fill(0);
  let round = startRound(
    links.length,
    quorum.quorum,
    after(startedAt, validityMs(ttlMs, quorum.clockBounds)),
  );
  let settle: ((outcome: AttemptOutcome) => void) | undefined;
  let deadline: Deadline | undefined;
  let won = false;
  /** Set when it was lost: a grant that still comes in is released. */
  let lost = false;
  let abandoned = false;
  let yielding: Timer | undefined;

  const outcome = new Promise<AttemptOutcome>((resolve) => {
    settle = resolve;
  });

  function onReply(reply: AcquireReply, link: Link): void {
    const refused = contact.answered(link, sentAt, reply);
    answers[link.index] = refused ?? reply;
    const now = system.now();
    answeredAt[link.index] = elapsedMs(startedAt, now);
    if (reply.kind === "granted" && (lost || claim.over)) {
      grantedLate(system, claim, link);
      return;
    }
    if (reply.kind === "held" && won) request.onHeldLate?.(link);
    round = castVote(round, link.index, refused === undefined ? reply : FAULT);
    advance(link, now);
  }

  function onFault(fault: BackendError, link: Link): void {
    contact.failed(link, fault);
    if (fault.effect === "none" && !claim.extended) claim.untouched |= 1 << link.index;
    answers[link.index] = fault;
    const now = system.now();
    answeredAt[link.index] = elapsedMs(startedAt, now);
    round = castVote(round, link.index, FAULT);
    advance(link, now);
  }

  function onRaised(link: Link, fence: bigint, vote: RaiseVote): void {
    round = castRaise(round, link.index, vote);
    if (vote === "refused") {
      const what = `its grant with fence ${fence} was gone before the token could be confirmed`;
      answers[link.index] = new BackendError("BACKEND_REFUSED", { backend: link.backend.name, what });
    }
    advance(link, system.now());
  }

  /** After every answer: sends the raises that are due, notes confirmations, and settles when it is decided. */
  function advance(link: Link, now: Instant): void {
    if (lost) return;
    if (round.token !== undefined) {
      for (const index of dueRaises(round)) raise(index, round.token);
      if (won) {
        confirm(link.index);
        return;
      }
    }
    if (settle !== undefined) decide(now);
  }

  function raise(index: number, token: bigint): void {
    const link = links[index];
    const reply = answers[index];
    if (link === undefined || reply instanceof BackendError || reply?.kind !== "granted") return;
    const { fence } = reply;
    round = raiseSent(round, index);
    link.send(
      (session) => session.raise({ key, owner, fence, token }),
      (raised) => onRaised(link, fence, raised),
      () => onRaised(link, fence, "fault"),
    );
  }

  /** Takes note that a backend remembers the token, by the memory that granted. */
  function confirm(index: number): void {
    const reply = answers[index];
    if (round.seats[index] !== "known" || reply === undefined || reply instanceof BackendError) return;
    confirmed(claim, index, {
      at: after(startedAt, answeredAt[index] ?? 0),
      incarnation: reply.identity.incarnation,
    });
  }

  function decide(now: Instant): void {
    switch (verdict(round, now)) {
      case "pending":
        if (yielding === undefined && round.seats.includes("held")) yieldWhenDue();
        return;
      case "won":
        // Once more by the clock that sees a suspend: it costs more, and only a win needs it.
        if (verdict(round, system.look()) === "lost" || contact.problem() !== undefined) lose();
        else win();
        return;
      case "lost":
        // A new deployment is started only when all of its backends were seen, so all of them are worth waiting for.
        if (contact.mayStart() && onlyQuarantined(round)) return;
        lose();
    }
  }

  /**
   * Where somebody else has votes too, what this attempt got is given back rather than kept until backends answer that have fallen
   * silent: it is lost when the others cannot make it win. Two attempts that wait for each other would both wait for their whole deadline.
   * `wereRead`: what has arrived was read since it was first due; a process that was stalled finds all of it unread.
   */
  function yieldWhenDue(wereRead = false): void {
    const now = system.now();
    const open = round.seats.filter((seat) => OPEN.has(seat)).length;
    const silentInMs = links
      .filter(({ index }) => round.seats[index] === "waiting")
      .map((link) => link.unusualInMs(now, request.triesOnce))
      .sort((a, b) => a - b);
    const dueInMs = silentInMs[open - quorum.quorum];
    // A raise is on its way to each of those that granted: they answer.
    if (dueInMs === undefined) return;
    const isDue = dueInMs <= 0;
    if (isDue && wereRead) {
      lose();
      return;
    }
    yielding = system.startTimer("work", isDue ? READ_MS : dueInMs, () => {
      yielding = undefined;
      yieldWhenDue(isDue);
    });
  }

  function win(): void {
    const { token } = round;
    if (token === undefined) return;
    won = true;
    for (const link of links) confirm(link.index);
    const grant: Grant = {
      claim,
      token,
      ttlMs,
      wonAt: system.now(),
      validUntil: round.validUntil,
      votes: reports,
    };
    finish({ kind: "won", grant });
  }

  function lose(): void {
    lost = true;
    const votes = reports();
    const final = round;
    for (const index of toRelease(round)) release(index);
    const gaveBack = ({ index }: Link): boolean => {
      const answer = answers[index];
      return !(answer instanceof BackendError) && answer?.kind === "granted";
    };
    finish({ kind: "lost", round: final, votes, gaveBack, problem: contact.problem() });
  }

  /** Behind the acquire on the same connection; owed where it is not answered, since the acquire may come later. */
  function release(index: number): void {
    const link = links[index];
    if (link === undefined) return;
    const answer = answers[index];
    if (answer instanceof BackendError && answer.effect === "none") return;
    const ticket = abandoned ? undefined : ticketNow();
    link.send(
      (session) => session.release(key, owner, ticket),
      (reply) => {
        if (reply === "not-owner") releaseDenied(system, claim, link);
      },
      () => link.owe(releaseDebt(system, claim)),
    );
  }

  /** The waiter's place in line, which goes with what a lost attempt gives back: it has it again before the next one is called. */
  function ticketNow(): Ticket | undefined {
    const { ticket } = request;
    if (ticket === undefined) return undefined;
    const waitsMs = ticket.waitsMs - elapsedMs(startedAt, system.now());
    // Less is over by the time that it is looked at, and clocks of milliseconds would not agree on it.
    return waitsMs >= 1 ? { ...ticket, waitsMs } : undefined;
  }

  function finish(result: AttemptOutcome): void {
    deadline?.cancel();
    if (yielding !== undefined) system.cancelTimer(yielding);
    settle?.(result);
    settle = undefined;
  }

  function reports(): readonly VoteReport[] {
    const elapsed = elapsedMs(startedAt, system.now());
    return links.map((link, index) => report(link, answers[index], answeredAt[index] || elapsed));
  }

  function giveUpNow(): void {
    if (settle === undefined) return;
    for (const link of links) {
      if (answers[link.index] !== undefined) continue;
      const elapsed = elapsedMs(startedAt, system.now());
      const fault = timeout(link, elapsed);
      answers[link.index] = fault;
      answeredAt[link.index] = elapsed;
      link.timedOut(fault);
    }
    round = giveUp(round);
    if (verdict(round, system.look()) === "won" && contact.problem() === undefined) win();
    else lose();
  }

  const asked: AcquireRequest = { key, owner, ttlMs, proposal, ticket: request.ticket };
  const ask = (session: BackendSession): Promise<AcquireReply> => session.acquire(asked);
  for (const link of links) link.send(ask, onReply, onFault);
  deadline = startDeadline(system, { since: startedAt, deadlineMs: request.deadlineMs }, giveUpNow);

  return {
    outcome,
    abandon(): void {
      if (settle === undefined) return;
      abandoned = true;
      lose();
    },
  };
}

const FAULT = { kind: "fault" } as const;
/** Those that may still count. */
const OPEN: ReadonlySet<Seat> = new Set(["waiting", "granted", "behind", "raising", "known"]);

function onlyQuarantined(round: Round): boolean {
  return (
    round.seats.includes("waiting") &&
    round.seats.every((seat) => seat === "quarantined" || seat === "waiting")
  );
}

/** What is said of a backend that did not answer in time. */
export function timeout(link: Link, afterMs: number): BackendError {
  const what = `no answer within ${Math.round(afterMs)} ms (it may still act on the request)`;
  return new BackendError("BACKEND_TIMEOUT", { backend: link.backend.name, what });
}

/** What one backend did in a round, as errors and events tell it. */
export function report(
  link: Link,
  answer: AcquireReply | ExtendReply | BackendError | undefined,
  elapsed: number,
): VoteReport {
  const backend = link.backend.name;
  if (answer === undefined) return { backend, vote: "no-answer", elapsedMs: elapsed };
  if (answer instanceof BackendError) {
    return { backend, vote: "fault", elapsedMs: elapsed, code: answer.code, error: answer };
  }
  switch (answer.kind) {
    case "granted":
    case "extended":
    case "recreated":
      return { backend, vote: "granted", elapsedMs: elapsed };
    case "not-owner":
      return { backend, vote: "denied", elapsedMs: elapsed };
    case "held":
    case "quarantined":
      if (answer.remainingMs === undefined) return { backend, vote: answer.kind, elapsedMs: elapsed };
      return { backend, vote: answer.kind, elapsedMs: elapsed, remainingMs: answer.remainingMs };
  }
}
