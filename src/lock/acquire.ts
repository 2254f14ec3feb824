/** Waiting for a lock: attempts with random pauses in between, until one is won or the wait is over. */
import type { Deployment } from "../backend.js";
import { freeInMs, refusalReason, type Round } from "../engine/round.js";
import { assert } from "../engine/assert.js";
import { requestDeadlineMs, retryDelayMs, type RetryBounds } from "../engine/schedule.js";
import { elapsedMs, type Instant, type System } from "../engine/time.js";
import {
  AbortedError,
  ClosedError,
  LockHeldError,
  NoQuorumError,
  QuarantinedError,
  type RefusalData,
  type VoteReport,
} from "../errors.js";
import type { ResolvedAcquire } from "../options.js";
import type { Calls, Standing } from "./calls.js";
import type { Contact } from "./contact.js";
import type { Reporter } from "./events.js";
import type { Line, Place } from "./line.js";
import type { Link } from "./link.js";
import { startAttempt, type AttemptOutcome, type AttemptRequest, type Grant, type Quorum } from "./poll.js";
import { releaseEverywhere } from "./release.js";
import { either, pause, type Interruption } from "./waiting.js";

/** What an acquire needs of its locker. */
export interface AcquireContext {
  readonly quorum: Quorum;
  readonly system: System;
  readonly contact: Contact;
  readonly reporter: Reporter;
  readonly deployment: Deployment;
  readonly retry: RetryBounds;
  readonly line: Line<Lost>;
  readonly calls: Calls;
  /** The close of the locker. */
  readonly closing: Interruption;
}

/** A won wait. */
export interface Acquired {
  readonly grant: Grant;
  readonly attempts: number;
  readonly waitedMs: number;
}

/** A lost attempt. */
export type Lost = Extract<AttemptOutcome, { kind: "lost" }>;

/** Attempts without a pause in between while a new deployment is being started: two looks, the start, one more. */
const FIRST_CONTACT_ATTEMPTS = 5;

/** How often about to ask when backends call: calls may be lost, and an expiry calls nobody. */
const CALLED_POLL_MS = 1_000;

/**
 * Acquires the lock, within `options.waitMs`. Rejects with `LOCK_HELD`, `NO_QUORUM` or `QUARANTINED`, whichever the last
 * attempt showed that had its time; with `ABORTED` or `CLOSED` at once when the wait is interrupted; with the problem of the deployment.
 */
export function acquireGrant(
  context: AcquireContext,
  key: string,
  options: ResolvedAcquire,
): Promise<Acquired> {
  const { system } = context;
  const interruption = either(context.closing, options.signal);
  // By the clock that sees a suspend: one from before the call must not count as waiting, nor end the first attempt.
  const wait: Wait = { key, options, interruption, startedAt: system.look() };
  // Who tries once has nobody to stand behind.
  return options.waitMs === 0 ? attemptUntilWon(context, wait, undefined) : behindOthers(context, wait);
}

/** Behind the earlier waiters of this locker. */
async function behindOthers(context: AcquireContext, wait: Wait): Promise<Acquired> {
  const { key, options, interruption } = wait;
  const place = context.line.enter(key);
  try {
    if (!(await place.turn(options.waitMs, interruption))) {
      refuseInterrupted(context.closing, key, options.signal);
      throw refusedInLine(context, wait, place.shown());
    }
    return await attemptUntilWon(context, wait, place);
  } finally {
    place.leave();
  }
}

/** One call of {@link acquireGrant}. */
interface Wait {
  readonly key: string;
  readonly options: ResolvedAcquire;
  readonly interruption: Interruption;
  readonly startedAt: Instant;
}

/** What a wait has come to so far. */
interface Progress {
  attempts: number;
  firstContact: number;
  /** What the last attempt showed that was not cut short by the end of the wait. */
  shown: Lost | undefined;
  /**
   * In line on the backends, from the first time that somebody else has the lock; in a locker that met one before, from
   * the first attempt on, which saves another one.
   */
  standing: Standing | undefined;
  /** The backends on which the ticket may still stand. */
  inLine: (link: Link) => boolean;
}

/** An attempt of a wait. */
interface Tried {
  readonly at: Instant;
  readonly deadlineMs: number;
  readonly outcome: AttemptOutcome;
}

/** Short, since most waits end with the first attempt, and what an asynchronous function knows is kept while it waits. */
async function attemptUntilWon(
  context: AcquireContext,
  wait: Wait,
  place: Place<Lost> | undefined,
): Promise<Acquired> {
  const { system, closing, calls } = context;
  const { key, options, interruption } = wait;
  const standing = options.waitMs > 0 && calls.listening() ? calls.stand(key) : undefined;
  const so: Progress = { attempts: 0, firstContact: 0, shown: undefined, standing, inLine: anywhere };
  try {
    for (;;) {
      refuseInterrupted(closing, key, options.signal);
      so.attempts++;
      const at = system.now();
      const deadlineMs = deadline(context, options, wait.startedAt);
      const attempt = startAttempt(context.quorum, request(wait, so, { at, deadlineMs }));
      const stop = interruption.listen(() => attempt.abandon());
      const outcome = await attempt.outcome;
      stop();
      if (outcome.kind === "won" && !interruption.interrupted()) {
        return won(context, wait, so, outcome.grant);
      }
      await pauseBehind(context, wait, so, { at, deadlineMs, outcome }, place);
    }
  } finally {
    so.standing?.leave(so.inLine);
  }
}

function request(
  { key, options, startedAt }: Wait,
  { standing }: Progress,
  { at, deadlineMs }: Omit<Tried, "outcome">,
): AttemptRequest {
  const { ttlMs, waitMs } = options;
  const triesOnce = waitMs === 0;
  if (standing === undefined) {
    return { key, ttlMs, deadlineMs, triesOnce, ticket: undefined, onHeldLate: undefined };
  }
  const ticket = standing.ticket(Math.max(1, waitMs - elapsedMs(startedAt, at)));
  const onHeldLate = (link: Link): void => standing.leave((each) => each === link);
  return { key, ttlMs, deadlineMs, triesOnce, ticket, onHeldLate };
}

function won({ system }: AcquireContext, { startedAt }: Wait, so: Progress, grant: Grant): Acquired {
  if (so.standing !== undefined) {
    const votes = grant.votes();
    // One that has not answered is told when it does, if it must.
    const [granted, silent] = [votedAs("granted", votes), votedAs("no-answer", votes)];
    so.inLine = (link) => !granted(link) && !silent(link);
  }
  return { grant, attempts: so.attempts, waitedMs: elapsedMs(startedAt, system.now()) };
}

/** Until the next attempt is due. Throws where none is. */
async function pauseBehind(
  context: AcquireContext,
  wait: Wait,
  so: Progress,
  { at, deadlineMs, outcome }: Tried,
  place: Place<Lost> | undefined,
): Promise<void> {
  const { system, contact, quorum } = context;
  const { key, options, interruption, startedAt } = wait;
  const { attempts } = so;
  if (outcome.kind === "won") {
    // Won in the very turn in which nobody wants it any more.
    outcome.grant.claim.over = true;
    void releaseEverywhere(quorum, outcome.grant.claim, deadlineMs);
  }
  refuseInterrupted(context.closing, key, options.signal);
  assert(outcome.kind === "lost", "what interrupts a wait is known to the error for it");
  if (outcome.problem !== undefined) throw outcome.problem;
  if (contact.mayStart() && onlyQuarantined(outcome.round) && so.firstContact++ < FIRST_CONTACT_ATTEMPTS) {
    await contact.start(deadline(context, options, startedAt), interruption);
    if (options.waitMs === 0 || elapsedMs(startedAt, system.now()) + 1 <= options.waitMs) return;
    refuseInterrupted(context.closing, key, options.signal);
  }
  const cutShort =
    deadlineMs < requestDeadlineMs(options.ttlMs) && refusalReason(outcome.round) === "no-quorum";
  const shown = cutShort && so.shown !== undefined ? so.shown : outcome;
  so.shown = shown;
  place?.show(shown);
  const now = system.look();
  const waitedMs = elapsedMs(startedAt, now);
  const longest = options.waitMs - waitedMs - elapsedMs(at, now) - 1;
  if (longest <= 0) throw refused(context, shown, { key, attempts, waitedMs });
  if (so.standing === undefined && refusalReason(outcome.round) === "held") {
    so.standing = context.calls.stand(key);
    // Once more at once, to stand in line.
    if (so.standing !== undefined) return;
  }
  // What was granted was given back with the ticket, and what was not answered will be.
  const called = so.standing?.isExpected(mayStand(outcome.votes)) === true;
  const pauseMs = Math.min(pauseAfter(context, outcome.round, { attempts, called }), longest);
  if (so.standing === undefined) await pause(system, pauseMs, interruption);
  else await so.standing.pause(pauseMs, interruption, outcome.gaveBack);
}

function anywhere(_link: Link): boolean {
  return true;
}

/** Where the ticket of a lost attempt stands in line, or will as soon as what was sent is executed. */
function mayStand(votes: readonly VoteReport[]): (link: Link) => boolean {
  return ({ index }) => MAY_STAND.has(votes[index]?.vote);
}

const MAY_STAND: ReadonlySet<VoteReport["vote"] | undefined> = new Set(["held", "granted", "no-answer"]);

function votedAs(vote: VoteReport["vote"], votes: readonly VoteReport[]): (link: Link) => boolean {
  return ({ index }) => votes[index]?.vote === vote;
}

/** How long backends may take now. Without a wait an attempt may still take as long as its backends may. */
function deadline(context: AcquireContext, options: ResolvedAcquire, startedAt: Instant): number {
  const deadlineMs = requestDeadlineMs(options.ttlMs);
  if (options.waitMs === 0) return deadlineMs;
  const leftMs = options.waitMs - elapsedMs(startedAt, context.system.now());
  return Math.max(1, Math.min(deadlineMs, leftMs));
}

/** The pause before the next attempt in milliseconds. `called`: a call is to be expected, so that asking is a backstop. */
function pauseAfter(
  context: AcquireContext,
  round: Round,
  so: { readonly attempts: number; readonly called: boolean },
): number {
  const random = context.system.random();
  const planned = so.called
    ? CALLED_POLL_MS * (0.75 + random / 2)
    : retryDelayMs(so.attempts, context.retry, random);
  const free = freeInMs(round);
  // Where the end of the other's lock is near, there is no point in sleeping far past it.
  const wanted = free === undefined ? planned : Math.min(planned, free + random * context.retry.delayMsMin);
  return Math.max(wanted, 1);
}

/** The end of a wait in which earlier waiters of this locker were still waiting. */
function refusedInLine(
  context: AcquireContext,
  { key, startedAt }: Wait,
  shown: Lost | undefined,
): LockHeldError | NoQuorumError | QuarantinedError {
  const waitedMs = elapsedMs(startedAt, context.system.now());
  const tries = { key, attempts: 0, waitedMs };
  if (shown !== undefined) return refused(context, shown, tries);
  context.reporter.emit("refused", () => ({ reason: "held", votes: [], ...tries }));
  return new LockHeldError({ votes: [], retryAfterMs: undefined, ...tries });
}

function refused(
  context: AcquireContext,
  outcome: Lost,
  tries: { readonly key: string; readonly attempts: number; readonly waitedMs: number },
): LockHeldError | NoQuorumError | QuarantinedError {
  const { votes, round } = outcome;
  const reason = refusalReason(round);
  context.reporter.emit("refused", () => ({ reason, votes, ...tries }));
  const data: RefusalData = { votes, retryAfterMs: freeInMs(round), ...tries };
  switch (reason) {
    case "held":
      return new LockHeldError(data);
    case "quarantined":
      return new QuarantinedError(data, startHint(context, outcome));
    case "no-quorum":
      return new NoQuorumError(data, startHint(context, outcome));
  }
}

/** What helps when a quarantine is that of a deployment that was never started. */
function startHint(context: AcquireContext, outcome: Lost): string | undefined {
  if (outcome.votes.every(({ vote }) => vote !== "quarantined")) return undefined;
  if (context.deployment.restartGuard === "strict") {
    return 'if this is the first start of these backends, run locker.bootstrap() once (restartGuard is "strict")';
  }
  if (!context.contact.mayStart()) return undefined;
  // One that failed decides early, so that others may not have had the time to answer.
  const named = (out: VoteReport["vote"]): string[] =>
    outcome.votes.filter(({ vote }) => vote === out).map(({ backend }) => backend);
  const failed = named("fault");
  const missing = failed.length > 0 ? failed : named("no-answer");
  if (missing.length === 0) return undefined;
  return `if these backends are new, they start as soon as all of them answer; missing: ${missing.join(", ")}`;
}

/** Throws what interrupts a wait, if something does: `CLOSED` or `ABORTED`. */
export function refuseInterrupted(closing: Interruption, key: string, signal: AbortSignal | undefined): void {
  if (closing.interrupted()) throw new ClosedError();
  if (signal?.aborted === true) throw new AbortedError(key, signal.reason);
}

function onlyQuarantined(round: Round): boolean {
  return round.seats.every((seat) => seat === "quarantined");
}
