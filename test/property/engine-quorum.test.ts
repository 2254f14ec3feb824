import { describe, expect, it } from "vitest";
import { isQuorum, majority, overlap } from "../../src/engine/quorum.js";
import { shared, subsets } from "../engine/twins/subsets.js";

const SIZES = [1, 2, 3, 4, 5, 6];

/** All sets of `size` of n backends. */
const setsOf = (n: number, size: number) => subsets(n).filter((set) => set.length === size);

/** How few backends any two sets of that size have in common; undefined when there is no such set. */
function leastShared(n: number, size: number): number | undefined {
  const sets = setsOf(n, size);
  if (sets.length === 0) return undefined;
  return Math.min(...sets.flatMap((a) => sets.map((b) => shared(a, b).length)));
}

describe.each(SIZES)("of %i backends", (n) => {
  const sizes = Array.from({ length: n + 3 }, (_, i) => i);

  it("exactly those sizes are quorums of which all sets share a backend", () => {
    for (const size of sizes)
      expect([size, isQuorum(size, n)]).toEqual([size, (leastShared(n, size) ?? 0) > 0]);
  });

  it("the majority is the smallest quorum", () => {
    expect(majority(n)).toBe(sizes.find((size) => (leastShared(n, size) ?? 0) > 0));
  });

  it("the overlap is the least that two quorums share", () => {
    for (const size of sizes.filter((each) => isQuorum(each, n)))
      expect(overlap(size, n)).toBe(leastShared(n, size));
  });

  it("one forgetful backend fewer than the overlap leaves a witness in every pair of quorums, and no more do", () => {
    for (const size of sizes.filter((each) => isQuorum(each, n))) {
      const quorums = setsOf(n, size);
      const survives = (losses: number): boolean =>
        setsOf(n, losses).every((lost) =>
          quorums.every((a) => quorums.every((b) => shared(a, b).some((each) => !lost.includes(each)))),
        );
      expect(survives(overlap(size, n) - 1)).toBe(true);
      expect(survives(overlap(size, n))).toBe(false);
    }
  });
});
