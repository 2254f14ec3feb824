import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { majority } from "../../src/engine/quorum.js";
import {
  castRaise,
  castVote,
  dueRaises,
  freeInMs,
  giveUp,
  raiseSent,
  refusalReason,
  startRound,
  toRelease,
  verdict,
  type Round,
  type Vote,
} from "../../src/engine/round.js";
import { instant } from "../../src/engine/time.js";
import {
  twinDueRaises,
  twinFreeInMs,
  twinKnown,
  twinReason,
  twinToken,
  twinToRelease,
  twinVerdict,
  type RoundEvent,
  type TwinRound,
} from "../engine/twins/round-twin.js";

const VALID_UNTIL = 1_000;

const remainingMs = fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined });
const vote: fc.Arbitrary<Vote> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("granted" as const), fence: fc.bigInt({ min: 1n, max: 4n }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("held" as const), remainingMs }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("quarantined" as const),
      remainingMs: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "fault" } as const) },
);

/** Something that may happen; which backend it concerns is taken modulo the number of backends. */
const happening = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("vote" as const), at: fc.nat(20), vote }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("raise-sent" as const), at: fc.nat(20) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("raise-answer" as const),
      at: fc.nat(20),
      vote: fc.constantFrom("raised" as const, "raised" as const, "refused" as const, "fault" as const),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "give-up" as const }) },
);
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

/** Of one to five backends, with any quorum that is one. */
const deployment = fc
  .integer({ min: 1, max: 5 })
  .chain((n) => fc.record({ n: fc.constant(n), quorum: fc.integer({ min: majority(n), max: n }) }));
const story = fc.record({ deployment, happenings: fc.array(happening, { maxLength: 16 }) });

/** What really happens: a raise is sent only where one is due. */
function eventOf(each: Happening, round: Round): RoundEvent | undefined {
  if (each.kind === "give-up") return each;
  if (each.kind === "raise-sent") {
    const due = dueRaises(round);
    const index = due[each.at % Math.max(1, due.length)];
    return index === undefined ? undefined : { kind: "raise-sent", index };
  }
  const index = each.at % round.seats.length;
  return each.kind === "vote" ? { ...each, index } : { ...each, index };
}

function apply(round: Round, event: RoundEvent): Round {
  switch (event.kind) {
    case "vote":
      return castVote(round, event.index, event.vote);
    case "raise-sent":
      return raiseSent(round, event.index);
    case "raise-answer":
      return castRaise(round, event.index, event.vote);
    case "give-up":
      return giveUp(round);
  }
}

/** Plays a story on the engine and on the twin, and looks at both after every step. */
function play(
  {
    deployment: { n, quorum },
    happenings,
  }: { deployment: { n: number; quorum: number }; happenings: readonly Happening[] },
  look: (round: Round, twin: TwinRound, before: Round | undefined) => void,
): void {
  let round = startRound(n, quorum, instant(VALID_UNTIL));
  let twin: TwinRound = { n, quorum, history: [] };
  look(round, twin, undefined);
  for (const each of happenings) {
    const event = eventOf(each, round);
    if (event === undefined) continue;
    const before = round;
    round = apply(round, event);
    twin = { ...twin, history: [...twin.history, event] };
    look(round, twin, before);
  }
}

const inTime = instant(VALID_UNTIL - 0.001);
const known = (round: Round): readonly number[] =>
  round.seats.flatMap((seat, i) => (seat === "known" ? [i] : []));

describe("a round", () => {
  it("has the verdict of a twin that tries all futures", () => {
    fc.assert(
      fc.property(story, (played) =>
        play(played, (round, twin) => {
          expect(verdict(round, inTime)).toBe(twinVerdict(twin, true));
          expect(verdict(round, instant(VALID_UNTIL))).toBe(twinVerdict(twin, false));
        }),
      ),
      { numRuns: 600 },
    );
  });

  it("knows, raises and releases what the twin does, with the token of the first q grants", () => {
    fc.assert(
      fc.property(story, (played) =>
        play(played, (round, twin) => {
          expect(round.token).toBe(twinToken(twin));
          expect(known(round)).toEqual(twinKnown(twin));
          expect(dueRaises(round)).toEqual(twinDueRaises(twin));
          expect(toRelease(round)).toEqual(twinToRelease(twin));
        }),
      ),
      { numRuns: 2_000 },
    );
  });

  it("tells the reason of a refusal, and when a quorum may be free, as the twin does", () => {
    fc.assert(
      fc.property(story, (played) =>
        play(played, (round, twin) => {
          expect(refusalReason(round)).toBe(twinReason(twin));
          expect(freeInMs(round)).toBe(twinFreeInMs(twin, [0, 1, 2, 3, 4, 5]));
        }),
      ),
      { numRuns: 2_000 },
    );
  });

  it("fixes the token once and for all, and never unknows a backend", () => {
    fc.assert(
      fc.property(story, (played) =>
        play(played, (round, _twin, before) => {
          expect(round.token).toBe(before?.token ?? round.token);
          for (const index of before === undefined ? [] : known(before))
            expect(round.seats[index]).toBe("known");
        }),
      ),
    );
  });

  it("stays won, and stays lost", () => {
    fc.assert(
      fc.property(story, (played) =>
        play(played, (round, _twin, before) => {
          const was = before === undefined ? "pending" : verdict(before, inTime);
          expect(was === "pending" ? was : verdict(round, inTime)).toBe(was);
        }),
      ),
    );
  });

  it("counts a backend once: whatever it says after its first answer changes nothing", () => {
    fc.assert(
      fc.property(story, fc.array(vote, { maxLength: 8 }), (played, more) =>
        play(played, (round) => {
          for (const [i, late] of more.entries()) {
            const index = i % round.seats.length;
            if (round.seats[index] === "waiting") continue;
            expect(castVote(round, index, late)).toBe(round);
          }
        }),
      ),
    );
  });

  it("is not won without q backends that granted", () => {
    fc.assert(
      fc.property(story, (played) =>
        play(played, (round, twin) => {
          if (verdict(round, inTime) !== "won") return;
          const granted = new Set<number>();
          for (const event of twin.history) {
            if (event.kind === "vote" && event.vote.kind === "granted") granted.add(event.index);
          }
          expect(known(round).length).toBeGreaterThanOrEqual(round.quorum);
          for (const index of known(round)) expect(granted).toContain(index);
        }),
      ),
    );
  });

  it("is decided once everybody answered, raises included, or was given up", () => {
    fc.assert(
      fc.property(
        deployment,
        fc.array(vote, { minLength: 5, maxLength: 5 }),
        fc.array(fc.boolean()),
        (of, votes, raised) => {
          let round = startRound(of.n, of.quorum, instant(VALID_UNTIL));
          for (let i = 0; i < of.n; i++) round = castVote(round, i, votes[i] ?? { kind: "fault" });
          for (const [i, index] of dueRaises(round).entries()) {
            round = raiseSent(round, index);
            if (raised[i] !== undefined) round = castRaise(round, index, raised[i] ? "raised" : "refused");
          }
          expect(verdict(giveUp(round), inTime)).not.toBe("pending");
          expect(verdict(round, inTime) === "pending" && !round.seats.includes("raising")).toBe(false);
        },
      ),
    );
  });

  it("leaves the round that it came from as it was", () => {
    fc.assert(
      fc.property(story, (played) => {
        const kept: { round: Round; text: string }[] = [];
        const text = (round: Round): string =>
          JSON.stringify(round, (_name, value: unknown) => (typeof value === "bigint" ? `${value}n` : value));
        play(played, (round) => kept.push({ round, text: text(round) }));
        for (const { round, text: was } of kept) expect(text(round)).toBe(was);
      }),
    );
  });
});
