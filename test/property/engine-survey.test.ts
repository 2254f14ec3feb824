import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { survey, type KeySighting } from "../../src/engine/survey.js";
import { twinRemainingMs, twinRoles, twinState, twinToken } from "../engine/twins/survey-twin.js";

const counter = fc.bigInt({ min: 0n, max: 9n });
const sighting: fc.Arbitrary<KeySighting> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("locked" as const),
      owner: fc.constantFrom("a", "a", "b", "c"),
      fence: counter,
      counter,
      remainingMs: fc.integer({ min: 1, max: 30 }),
      doubtful: fc.oneof(
        { weight: 4, arbitrary: fc.constant(false) },
        { weight: 1, arbitrary: fc.boolean() },
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("free" as const), counter, doubtful: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("fault" as const) }) },
);
const scene = fc.integer({ min: 1, max: 5 }).chain((n) =>
  fc.record({
    seen: fc.array(sighting, { minLength: n, maxLength: n }),
    quorum: fc.integer({ min: Math.floor(n / 2) + 1, max: n }),
  }),
);

describe("the survey of a key", () => {
  it("says what a twin does that tries everything that is not known", () => {
    const states = new Map<string, number>();
    const tokens = { shown: 0, hidden: 0 };
    fc.assert(
      fc.property(scene, ({ seen, quorum }) => {
        const sum = survey(seen, quorum);
        expect(sum.state).toBe(twinState(seen, quorum));
        expect(sum.roles).toEqual(twinRoles(seen, quorum));
        expect(sum.remainingMs).toBe(twinRemainingMs(seen, quorum));
        expect(sum.token).toBe(twinToken(seen, quorum));
        states.set(sum.state, (states.get(sum.state) ?? 0) + 1);
        if (sum.state === "held") tokens[sum.token === undefined ? "hidden" : "shown"]++;
      }),
      { numRuns: 4_000 },
    );
    for (const state of ["held", "contended", "orphan", "free", "unknown"]) {
      expect(states.get(state), state).toBeGreaterThan(100);
    }
    expect(tokens.shown).toBeGreaterThan(20);
    expect(tokens.hidden).toBeGreaterThan(100);
  });

  it("names the owner of a held lock and of an orphan only, and the highest counter", () => {
    fc.assert(
      fc.property(scene, ({ seen, quorum }) => {
        const { state, owner, roles, counter: highest } = survey(seen, quorum);
        expect(owner !== undefined).toBe(state === "held" || state === "orphan");
        seen.forEach((each, i) => {
          if (each.kind !== "locked") return;
          if (roles[i] === "holder" || roles[i] === "orphan") expect(each.owner).toBe(owner);
          if (roles[i] === "ghost") expect(each.owner).not.toBe(owner);
        });
        const counters = seen.flatMap((each) => (each.kind === "fault" ? [] : [each.counter]));
        expect(highest).toBe([0n, ...counters].sort((a, b) => (a < b ? 1 : -1))[0]);
      }),
    );
  });

  it("never calls held, free or orphan what one more answer could make another's", () => {
    fc.assert(
      fc.property(scene, sighting, fc.nat(), ({ seen, quorum }, answer, pick) => {
        const silent = seen.flatMap((each, i) => (each.kind === "fault" ? [i] : []));
        const index = silent[pick % Math.max(1, silent.length)];
        if (index === undefined) return;
        const before = survey(seen, quorum);
        const after = survey(seen.with(index, answer), quorum);
        if (before.state === "held") expect(after.owner).toBe(before.owner);
        if (before.state === "free" || before.state === "orphan" || before.state === "contended") {
          expect(after.state).not.toBe("held");
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
