import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  castExtend,
  extensionVerdict,
  mayHeal,
  startExtension,
  type Extension,
  type ExtensionVerdict,
  type ExtendVote,
} from "../../src/engine/extension.js";
import { majority } from "../../src/engine/quorum.js";
import { renewalDelayMs } from "../../src/engine/renewal.js";
import { requestDeadlineMs, retryDelayMs } from "../../src/engine/schedule.js";
import { instant } from "../../src/engine/time.js";

const ALL_VOTES: readonly ExtendVote[] = ["extended", "recreated", "not-owner", "quarantined", "fault"];
const VALID_UNTIL = instant(1_000);
const IN_TIME = instant(999.999);

/** All ways in which the missing answers can still come. */
function futures(votes: readonly (ExtendVote | undefined)[]): readonly (readonly ExtendVote[])[] {
  return votes.reduce<readonly (readonly ExtendVote[])[]>(
    (known, vote) =>
      known.flatMap((begin) =>
        (vote === undefined ? (["extended", "fault"] as const) : [vote]).map((next) => [...begin, next]),
      ),
    [[]],
  );
}

function confirmed(votes: readonly (ExtendVote | undefined)[]): number {
  return votes.filter((vote) => vote === "extended" || vote === "recreated").length;
}

/** By trying all futures. */
function twinVerdict(
  votes: readonly (ExtendVote | undefined)[],
  quorum: number,
  timeLeft: boolean,
): ExtensionVerdict {
  // Those that deny it hold nothing of it; if all others do, is that a quorum?
  if (votes.filter((vote) => vote !== "not-owner").length < quorum) return "forced-out";
  if (!timeLeft) return "expired";
  if (confirmed(votes) >= quorum) return "extended";
  return futures(votes).some((future) => confirmed(future) >= quorum) ? "pending" : "failed";
}

const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("an extension", () => {
  const story = fc.integer({ min: 1, max: 6 }).chain((n) =>
    fc.record({
      n: fc.constant(n),
      quorum: fc.integer({ min: majority(n), max: n }),
      answers: fc.array(fc.record({ index: fc.nat(n - 1), vote: fc.constantFrom(...ALL_VOTES) }), {
        maxLength: 10,
      }),
    }),
  );

  it("has the verdict of a twin that tries all futures", () => {
    fc.assert(
      fc.property(story, ({ n, quorum, answers }) => {
        let round: Extension = startExtension(n, quorum, VALID_UNTIL);
        const votes = new Array<ExtendVote | undefined>(n).fill(undefined);
        for (const { index, vote } of answers) {
          round = castExtend(round, index, vote);
          votes[index] ??= vote;
          expect(extensionVerdict(round, IN_TIME)).toBe(twinVerdict(votes, quorum, true));
          expect(extensionVerdict(round, VALID_UNTIL)).toBe(twinVerdict(votes, quorum, false));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("is complete for three backends: every row of answers has the twin's verdict", () => {
    const each = [...ALL_VOTES, undefined];
    for (const quorum of [2, 3]) {
      for (const a of each) {
        for (const b of each) {
          for (const c of each) {
            let round = startExtension(3, quorum, VALID_UNTIL);
            for (const [i, vote] of [a, b, c].entries())
              if (vote !== undefined) round = castExtend(round, i, vote);
            expect([a, b, c, extensionVerdict(round, IN_TIME)]).toEqual([
              a,
              b,
              c,
              twinVerdict([a, b, c], quorum, true),
            ]);
          }
        }
      }
    }
  });
});

describe("the right to heal", () => {
  it("is what a table says", () => {
    const incarnation = fc.constantFrom(undefined, "x", "y");
    const confirmation = fc.option(
      fc.record({ at: fc.nat(50).map(instant), incarnation: fc.constantFrom("x", "y") }),
      {
        nil: undefined,
      },
    );
    fc.assert(
      fc.property(
        confirmation,
        incarnation,
        fc.nat(30),
        fc.integer({ min: 1, max: 30 }),
        (last, now, waitedMs, ttlMs) => {
          const at = last?.at ?? 0;
          let quiet = 0;
          for (let ms = at; ms < at + waitedMs; ms++) quiet++;
          const rows = [
            last === undefined,
            last !== undefined && now !== undefined && now !== last.incarnation,
            quiet >= ttlMs,
          ];
          const allowed = last === undefined ? rows[0] : rows.slice(1).includes(true);
          expect(mayHeal(last, now, { now: instant(at + waitedMs), ttlMs })).toBe(allowed);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe("renewal", () => {
  const validityMs = fc.integer({ min: 10, max: 86_400_000 });

  it("tries a bounded number of times in one validity when every extension fails, and more than a few times", () => {
    fc.assert(
      fc.property(
        validityMs,
        fc.infiniteStream(unit),
        fc.double({ min: 0, max: 0.05, noNaN: true }),
        (validity, dice, took) => {
          let remainingMs: number = validity;
          let tries = 0;
          for (const random of dice) {
            remainingMs -= renewalDelayMs({ remainingMs, validityMs: validity, failures: tries }, random);
            if (remainingMs <= 0) break;
            tries++;
            // Until the failure is known some time passes.
            remainingMs -= took * validity;
          }
          expect(tries).toBeLessThanOrEqual(20);
          expect(tries).toBeGreaterThanOrEqual(4);
        },
      ),
    );
  });

  it("asks at most twenty times in any one validity, however successes and failures alternate", () => {
    fc.assert(
      fc.property(validityMs, fc.infiniteStream(fc.tuple(unit, fc.boolean())), (validity, dice) => {
        let [nowMs, endMs, failures] = [0, validity, 0];
        const asked: number[] = [];
        for (const [random, succeeds] of dice) {
          nowMs += renewalDelayMs({ remainingMs: endMs - nowMs, validityMs: validity, failures }, random);
          if (nowMs >= endMs || asked.length > 60) break;
          asked.push(nowMs);
          failures = succeeds ? 0 : failures + 1;
          if (succeeds) endMs = nowMs + validity;
        }
        for (const from of asked) {
          const within = asked.filter((at) => at >= from && at < from + validity * 0.999_999);
          expect(within.length).toBeLessThanOrEqual(20);
        }
      }),
    );
  });

  it("leaves more than half of the validity for repetitions when all is well", () => {
    fc.assert(
      fc.property(validityMs, unit, (validity, random) => {
        const delay = renewalDelayMs({ remainingMs: validity, validityMs: validity, failures: 0 }, random);
        expect(delay).toBeLessThanOrEqual(validity / 3 + 1e-6);
        expect(delay).toBeGreaterThan(validity * (1 / 3 - 1 / 20) - 1e-6);
      }),
    );
  });
});

describe("pauses and deadlines", () => {
  const bounds = fc
    .tuple(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 1, max: 60_000 }))
    .map(([a, b]) => ({ delayMsMin: Math.min(a, b), delayMsMax: Math.max(a, b) }));

  it("lie between the bounds, and where the dice say between the least and the doubled one", () => {
    fc.assert(
      fc.property(fc.nat(100), bounds, unit, (attempts, { delayMsMin, delayMsMax }, random) => {
        let ceiling = delayMsMin;
        for (let i = 0; i < attempts; i++)
          ceiling = ceiling + ceiling > delayMsMax ? delayMsMax : ceiling + ceiling;
        const delay = retryDelayMs(attempts, { delayMsMin, delayMsMax }, random);
        expect(delay).toBeGreaterThanOrEqual(delayMsMin);
        expect(delay).toBeLessThanOrEqual(delayMsMax);
        expect(delay).toBeCloseTo((1 - random) * delayMsMin + random * ceiling, 6);
      }),
    );
  });

  it("leave most of the TTL to the holder", () => {
    fc.assert(
      fc.property(fc.integer({ min: 50, max: 86_400_000 }), (ttlMs) => {
        const deadline = requestDeadlineMs(ttlMs);
        expect(deadline).toBeGreaterThan(0);
        expect(deadline * 5).toBeLessThanOrEqual(ttlMs + 1e-6);
        expect(deadline).toBeLessThanOrEqual(2_000);
        expect(deadline).toBeCloseTo([ttlMs / 5, 2_000].sort((a, b) => a - b)[0] ?? 0, 9);
      }),
    );
  });
});
