/**
 * First contact once more, as stupidly as possible: the list of all answers in the order in which they came, from which
 * everything is worked out anew at each question.
 */
import type { Sighting, Target } from "../../../src/engine/first-contact.js";

/** One answer. */
export interface TwinAnswer {
  readonly index: number;
  /** How many answers had come when the request was sent. */
  readonly sentAfter: number;
  readonly sighting: Sighting;
}

type Incarnations = readonly (string | undefined)[];

function shows(answer: TwinAnswer): boolean {
  return answer.sighting.kind === "in-service" || answer.sighting.joined;
}

function incarnationOf(answer: TwinAnswer): string | undefined {
  return answer.sighting.kind === "quarantined" ? answer.sighting.incarnation : undefined;
}

/** Both looks at all n backends, or what of them is complete, from the answers since number `from` on. */
function looks(
  n: number,
  answers: readonly TwinAnswer[],
  from: number,
): { restartAt?: number; second?: Incarnations } {
  const first = new Map<number, string>();
  const second = new Map<number, string>();
  let firstDone: number | undefined;
  let found: Incarnations | undefined;
  for (const [number, answer] of answers.entries()) {
    if (number < from) continue;
    const incarnation = incarnationOf(answer) ?? "";
    const seenBefore = first.get(answer.index);
    if (seenBefore !== undefined && seenBefore !== incarnation)
      return { restartAt: number + 1, ...(found && { second: found }) };
    if (answer.sentAfter < from) continue;
    if (firstDone === undefined) {
      first.set(answer.index, incarnation);
      if (first.size === n) firstDone = number + 1;
    } else if (answer.sentAfter >= firstDone) {
      second.set(answer.index, incarnation);
      if (second.size === n) found = [...second.entries()].sort(([a], [b]) => a - b).map(([, each]) => each);
    }
  }
  return found === undefined ? {} : { second: found };
}

/** What was decided to bootstrap, going by all that was answered. */
export function twinDecided(n: number, answers: readonly TwinAnswer[]): Incarnations | undefined {
  const end = answers.findIndex(shows);
  const unseen = end < 0 ? answers : answers.slice(0, end);
  let decided: Incarnations | undefined;
  let from: number | undefined = 0;
  while (from !== undefined) {
    const { restartAt, second } = looks(n, unseen, from);
    decided = second ?? decided;
    from = restartAt;
  }
  return decided;
}

/** The last answer of a backend. */
function lastOf(answers: readonly TwinAnswer[], index: number): TwinAnswer | undefined {
  return answers.filter((answer) => answer.index === index).at(-1);
}

export function twinBootstraps(n: number, answers: readonly TwinAnswer[]): readonly Target[] {
  const decided = twinDecided(n, answers);
  return (decided ?? []).flatMap((incarnation, index) => {
    const last = lastOf(answers, index);
    const still = last !== undefined && incarnationOf(last) === incarnation;
    return still && incarnation !== undefined ? [{ index, incarnation }] : [];
  });
}

/** An acknowledged join, and after how many answers it came. */
export interface TwinJoin extends Target {
  readonly after: number;
}

export function twinJoins(
  n: number,
  answers: readonly TwinAnswer[],
  acknowledged: readonly TwinJoin[],
): readonly Target[] {
  if (!answers.some(shows)) return [];
  const decided = twinDecided(n, answers);
  const due: Target[] = [];
  for (let index = 0; index < n; index++) {
    const last = lastOf(answers, index);
    if (last === undefined || shows(last)) continue;
    const incarnation = incarnationOf(last) ?? "";
    const answeredAt = answers.lastIndexOf(last);
    const told = acknowledged.some(
      (join) => join.index === index && join.incarnation === incarnation && join.after > answeredAt,
    );
    if (!told && decided?.[index] !== incarnation) due.push({ index, incarnation });
  }
  return due;
}
