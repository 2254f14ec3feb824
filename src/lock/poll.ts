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
import { Deadline, READ_MS } from "./deadline.js";
import type { Link, Question } from "./link.js";
import { listOf } from "./list-of.js";
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
  const attempt = new RunningAttempt(quorum, request);
  attempt.start();
  return attempt;
}

/** Of which a busy locker has very many: what is asked and told needs no function of its own for each. */
class RunningAttempt implements Attempt, Question<AcquireReply> {
  readonly outcome: Promise<AttemptOutcome>;
  readonly #quorum: Quorum;
  readonly #request: AttemptRequest;
  readonly #asked: AcquireRequest;
  readonly #claim: Claim;
  readonly #startedAt: Instant;
  readonly #sentAt: number;
  readonly #answers: (AcquireReply | BackendError | undefined)[];
  readonly #answeredAt: number[];
  #round: Round;
  #settle: ((outcome: AttemptOutcome) => void) | undefined;
  #deadline: Deadline | undefined;
  #won = false;
  /** Set when it was lost: a grant that still comes in is released. */
  #lost = false;
  #abandoned = false;
  #yielding: Timer | undefined;

  constructor(quorum: Quorum, request: AttemptRequest) {
    const { links, system, contact } = quorum;
    const { key, ttlMs, ticket } = request;
    const owner = system.newOwner();
    const proposal = system.propose();
    this.#quorum = quorum;
    this.#request = request;
    this.#asked = { key, owner, ttlMs, proposal, ticket };
    this.#claim = createClaim({ key, owner, ttlMs }, links.length);
    this.#startedAt = system.now();
    this.#sentAt = contact.clock();
    this.#answers = listOf<AcquireReply | BackendError | undefined>(links.length, undefined);
    this.#answeredAt = listOf(links.length, 0);
    this.#round = startRound(
      links.length,
      quorum.quorum,
      after(this.#startedAt, validityMs(ttlMs, quorum.clockBounds)),
    );
    this.outcome = new Promise<AttemptOutcome>((resolve) => {
      this.#settle = resolve;
    });
  }

  start(): void {
    const { links, system } = this.#quorum;
    for (const link of links) link.ask(this);
    const { deadlineMs } = this.#request;
    this.#deadline = new Deadline(system, { since: this.#startedAt, deadlineMs }, () => this.#giveUpNow());
  }

  abandon(): void {
    if (this.#settle === undefined) return;
    this.#abandoned = true;
    this.#lose();
  }

  ask(session: BackendSession): Promise<AcquireReply> {
    return session.acquire(this.#asked);
  }

  onReply(reply: AcquireReply, link: Link): void {
    const { contact, system } = this.#quorum;
    const claim = this.#claim;
    const refused = contact.answered(link, this.#sentAt, reply);
    this.#answers[link.index] = refused ?? reply;
    const now = system.now();
    this.#answeredAt[link.index] = elapsedMs(this.#startedAt, now);
    if (reply.kind === "granted" && (this.#lost || claim.over)) {
      grantedLate(system, claim, link);
      return;
    }
    if (reply.kind === "held" && this.#won) this.#request.onHeldLate?.(link);
    this.#round = castVote(this.#round, link.index, refused === undefined ? reply : FAULT);
    this.#advance(link, now);
  }

  onFault(fault: BackendError, link: Link): void {
    const { contact, system } = this.#quorum;
    const claim = this.#claim;
    contact.failed(link, fault);
    if (fault.effect === "none" && !claim.extended) claim.untouched |= 1 << link.index;
    this.#answers[link.index] = fault;
    const now = system.now();
    this.#answeredAt[link.index] = elapsedMs(this.#startedAt, now);
    this.#round = castVote(this.#round, link.index, FAULT);
    this.#advance(link, now);
  }

  #onRaised(link: Link, fence: bigint, vote: RaiseVote): void {
    this.#round = castRaise(this.#round, link.index, vote);
    if (vote === "refused") {
      const what = `its grant with fence ${fence} was gone before the token could be confirmed`;
      this.#answers[link.index] = new BackendError("BACKEND_REFUSED", { backend: link.backend.name, what });
    }
    this.#advance(link, this.#quorum.system.now());
  }

  /** After every answer: sends the raises that are due, notes confirmations, and settles when it is decided. */
  #advance(link: Link, now: Instant): void {
    if (this.#lost) return;
    const { token } = this.#round;
    if (token !== undefined) {
      for (const index of dueRaises(this.#round)) this.#raise(index, token);
      if (this.#won) {
        this.#confirm(link.index);
        return;
      }
    }
    if (this.#settle !== undefined) this.#decide(now);
  }

  #raise(index: number, token: bigint): void {
    const link = this.#quorum.links[index];
    const reply = this.#answers[index];
    if (link === undefined || reply instanceof BackendError || reply?.kind !== "granted") return;
    const { fence } = reply;
    const { key, owner } = this.#claim;
    this.#round = raiseSent(this.#round, index);
    link.send(
      (session) => session.raise({ key, owner, fence, token }),
      (raised) => this.#onRaised(link, fence, raised),
      () => this.#onRaised(link, fence, "fault"),
    );
  }

  /** Takes note that a backend remembers the token, by the memory that granted. */
  #confirm(index: number): void {
    const reply = this.#answers[index];
    if (this.#round.seats[index] !== "known" || reply === undefined || reply instanceof BackendError) return;
    confirmed(this.#claim, index, {
      at: after(this.#startedAt, this.#answeredAt[index] ?? 0),
      incarnation: reply.identity.incarnation,
    });
  }

  #decide(now: Instant): void {
    const { contact, system } = this.#quorum;
    const round = this.#round;
    switch (verdict(round, now)) {
      case "pending":
        if (this.#yielding === undefined && round.seats.includes("held")) this.#yieldWhenDue();
        return;
      case "won":
        // Once more by the clock that sees a suspend: it costs more, and only a win needs it.
        if (verdict(round, system.look()) === "lost" || contact.problem() !== undefined) this.#lose();
        else this.#win();
        return;
      case "lost":
        // A new deployment is started only when all of its backends were seen, so all of them are worth waiting for.
        if (contact.mayStart() && onlyQuarantined(round)) return;
        this.#lose();
    }
  }

  /**
   * Where somebody else has votes too, what this attempt got is given back rather than kept until backends answer that have fallen
   * silent: it is lost when the others cannot make it win. Two attempts that wait for each other would both wait for their whole deadline.
   * `wereRead`: what has arrived was read since it was first due; a process that was stalled finds all of it unread.
   */
  #yieldWhenDue(wereRead = false): void {
    const { links, quorum, system } = this.#quorum;
    const { seats } = this.#round;
    const now = system.now();
    const open = seats.filter((seat) => OPEN.has(seat)).length;
    const silentInMs = links
      .filter(({ index }) => seats[index] === "waiting")
      .map((link) => link.unusualInMs(now, this.#request.triesOnce))
      .sort((a, b) => a - b);
    const dueInMs = silentInMs[open - quorum];
    // A raise is on its way to each of those that granted: they answer.
    if (dueInMs === undefined) return;
    const isDue = dueInMs <= 0;
    if (isDue && wereRead) {
      this.#lose();
      return;
    }
    this.#yielding = system.startTimer("work", isDue ? READ_MS : dueInMs, () => {
      this.#yielding = undefined;
      this.#yieldWhenDue(isDue);
    });
  }

  #win(): void {
    const { links, system } = this.#quorum;
    const round = this.#round;
    const { token } = round;
    if (token === undefined) return;
    this.#won = true;
    for (const link of links) this.#confirm(link.index);
    const grant: Grant = {
      claim: this.#claim,
      token,
      ttlMs: this.#request.ttlMs,
      wonAt: system.now(),
      validUntil: round.validUntil,
      votes: () => this.#reports(),
    };
    this.#finish({ kind: "won", grant });
  }

  #lose(): void {
    this.#lost = true;
    const votes = this.#reports();
    const round = this.#round;
    for (const index of toRelease(round)) this.#release(index);
    const gaveBack = ({ index }: Link): boolean => {
      const answer = this.#answers[index];
      return !(answer instanceof BackendError) && answer?.kind === "granted";
    };
    this.#finish({ kind: "lost", round, votes, gaveBack, problem: this.#quorum.contact.problem() });
  }

  /** Behind the acquire on the same connection; owed where it is not answered, since the acquire may come later. */
  #release(index: number): void {
    const { links, system } = this.#quorum;
    const claim = this.#claim;
    const link = links[index];
    if (link === undefined) return;
    const answer = this.#answers[index];
    if (answer instanceof BackendError && answer.effect === "none") return;
    const ticket = this.#abandoned ? undefined : this.#ticketNow();
    link.send(
      (session) => session.release(claim.key, claim.owner, ticket),
      (reply) => {
        if (reply === "not-owner") releaseDenied(system, claim, link);
      },
      () => link.owe(releaseDebt(system, claim)),
    );
  }

  /** The waiter's place in line, which goes with what a lost attempt gives back: it has it again before the next one is called. */
  #ticketNow(): Ticket | undefined {
    const { ticket } = this.#request;
    if (ticket === undefined) return undefined;
    const waitsMs = ticket.waitsMs - elapsedMs(this.#startedAt, this.#quorum.system.now());
    // Less is over by the time that it is looked at, and clocks of milliseconds would not agree on it.
    return waitsMs >= 1 ? { ...ticket, waitsMs } : undefined;
  }

  #finish(result: AttemptOutcome): void {
    this.#deadline?.cancel();
    if (this.#yielding !== undefined) this.#quorum.system.cancelTimer(this.#yielding);
    this.#settle?.(result);
    this.#settle = undefined;
  }

  #reports(): readonly VoteReport[] {
    const { links, system } = this.#quorum;
    const elapsed = elapsedMs(this.#startedAt, system.now());
    return links.map((link, index) => report(link, this.#answers[index], this.#answeredAt[index] || elapsed));
  }

  #giveUpNow(): void {
    if (this.#settle === undefined) return;
    const { links, system, contact } = this.#quorum;
    for (const link of links) {
      if (this.#answers[link.index] !== undefined) continue;
      const elapsed = elapsedMs(this.#startedAt, system.now());
      const fault = timeout(link, elapsed);
      this.#answers[link.index] = fault;
      this.#answeredAt[link.index] = elapsed;
      link.timedOut(fault);
    }
    this.#round = giveUp(this.#round);
    if (verdict(this.#round, system.look()) === "won" && contact.problem() === undefined) this.#win();
    else this.#lose();
  }
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
