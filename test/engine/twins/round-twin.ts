/**
 * The round once more, as stupidly as possible: it keeps every event that happened and works out each answer from the
 * whole list. Whether an attempt can still be won it finds by trying all futures.
 */
import type { RaiseVote, RefusalReason, Verdict, Vote } from "../../../src/engine/round.js";

/** What happened, in order. */
export type RoundEvent =
  | { readonly kind: "vote"; readonly index: number; readonly vote: Vote }
  | { readonly kind: "raise-sent"; readonly index: number }
  | { readonly kind: "raise-answer"; readonly index: number; readonly vote: RaiseVote }
  | { readonly kind: "give-up" };

export interface TwinRound {
  readonly n: number;
  readonly quorum: number;
  readonly history: readonly RoundEvent[];
}

/** The first answer of a backend; giving up answers for those that are silent. */
function answerOf(round: TwinRound, index: number): Vote | undefined {
  for (const event of round.history) {
    if (event.kind === "vote" && event.index === index) return event.vote;
    if (event.kind === "give-up") return { kind: "fault" };
  }
  return undefined;
}

/** The backends in the order of their first answers, where those were grants. */
function grants(round: TwinRound): readonly { index: number; fence: bigint }[] {
  const found: { index: number; fence: bigint }[] = [];
  const answered = new Set<number>();
  for (const event of round.history) {
    if (event.kind === "give-up") break;
    if (event.kind !== "vote" || answered.has(event.index)) continue;
    answered.add(event.index);
    if (event.vote.kind === "granted") found.push({ index: event.index, fence: event.vote.fence });
  }
  return found;
}

/** The largest fence of the first q grants. */
export function twinToken(round: TwinRound): bigint | undefined {
  const first = grants(round).slice(0, round.quorum);
  if (first.length < round.quorum) return undefined;
  return first.map(({ fence }) => fence).sort((a, b) => (a < b ? 1 : -1))[0];
}

/** What became of the raise to a backend: the first answer after it was sent; giving up answers for the silent. */
function raiseOf(round: TwinRound, index: number): RaiseVote | "sent" | "not-sent" {
  let sent = false;
  for (const event of round.history) {
    if (event.kind === "raise-sent" && event.index === index) sent = true;
    if (sent && event.kind === "raise-answer" && event.index === index) return event.vote;
    if (sent && event.kind === "give-up") return "fault";
  }
  return sent ? "sent" : "not-sent";
}

export function twinDueRaises(round: TwinRound): readonly number[] {
  const token = twinToken(round);
  if (token === undefined) return [];
  return grants(round)
    .filter(({ index, fence }) => fence < token && raiseOf(round, index) === "not-sent")
    .map(({ index }) => index)
    .sort((a, b) => a - b);
}

/** The backends that remember the token. */
export function twinKnown(round: TwinRound): readonly number[] {
  const token = twinToken(round);
  if (token === undefined) return [];
  return grants(round)
    .filter(({ index, fence }) => fence === token || (fence < token && raiseOf(round, index) === "raised"))
    .map(({ index }) => index)
    .sort((a, b) => a - b);
}

/** Everything that could happen next. */
function nextEvents(round: TwinRound): readonly RoundEvent[] {
  const next: RoundEvent[] = [];
  const fences = grants(round).map(({ fence }) => fence);
  const candidates = [...new Set([...fences, 1n, (twinToken(round) ?? 5n) + 1n])];
  for (let index = 0; index < round.n; index++) {
    if (answerOf(round, index) === undefined) {
      for (const fence of candidates) next.push({ kind: "vote", index, vote: { kind: "granted", fence } });
      next.push({ kind: "vote", index, vote: { kind: "fault" } });
    }
    if (raiseOf(round, index) === "sent") {
      for (const vote of ["raised", "refused"] as const) next.push({ kind: "raise-answer", index, vote });
    }
  }
  for (const index of twinDueRaises(round)) next.push({ kind: "raise-sent", index });
  return next;
}

function canBeWon(round: TwinRound, seen: Set<string>): boolean {
  if (twinKnown(round).length >= round.quorum) return true;
  const state = describe(round);
  if (seen.has(state)) return false;
  seen.add(state);
  return nextEvents(round).some((event) => canBeWon({ ...round, history: [...round.history, event] }, seen));
}

/** Two histories with the same description have the same futures. */
function describe(round: TwinRound): string {
  const seats = Array.from({ length: round.n }, (_, index) => {
    const answer = answerOf(round, index);
    const fence = answer?.kind === "granted" ? answer.fence : "";
    return `${answer?.kind}${fence}/${raiseOf(round, index)}`;
  });
  return `${twinToken(round)} ${seats.join(" ")}`;
}

/** By trying all futures. `timeLeft`: whether validity still runs. */
export function twinVerdict(round: TwinRound, timeLeft: boolean): Verdict {
  if (!timeLeft) return "lost";
  if (twinKnown(round).length >= round.quorum) return "won";
  return canBeWon(round, new Set()) ? "pending" : "lost";
}

export function twinToRelease(round: TwinRound): readonly number[] {
  const all = Array.from({ length: round.n }, (_, index) => index);
  const grantedNothing = ["held", "quarantined"];
  return all.filter((index) => !grantedNothing.includes(answerOf(round, index)?.kind ?? "none"));
}

/** A backend that was not heard yet may vote; one that failed may not. */
function voted(round: TwinRound, index: number): boolean {
  const answer = answerOf(round, index)?.kind;
  if (answer === undefined || answer === "held") return true;
  return answer === "granted" && raiseOf(round, index) !== "fault";
}

export function twinReason(round: TwinRound): RefusalReason {
  const all = Array.from({ length: round.n }, (_, index) => index);
  const answers = all.map((index) => answerOf(round, index)?.kind);
  const votes = all.filter((index) => voted(round, index)).length;
  const quarantined = answers.filter((answer) => answer === "quarantined").length;
  if (votes >= round.quorum && answers.includes("held")) return "held";
  return quarantined > 0 && votes + quarantined >= round.quorum ? "quarantined" : "no-quorum";
}

/** The earliest of many instants, tried one after the other, at which a quorum would be free. */
export function twinFreeInMs(round: TwinRound, instants: readonly number[]): number | undefined {
  return [...instants]
    .sort((a, b) => a - b)
    .find((ms) => {
      let free = 0;
      for (let index = 0; index < round.n; index++) {
        const answer = answerOf(round, index);
        if (answer?.kind === "held" || answer?.kind === "quarantined") {
          if (answer.remainingMs !== undefined && answer.remainingMs <= ms) free++;
        } else if (answer?.kind === "granted" && raiseOf(round, index) !== "fault") free++;
      }
      return free >= round.quorum;
    });
}
