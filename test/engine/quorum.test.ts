import { describe, expect, it } from "vitest";
import { isQuorum, majority, overlap } from "../../src/engine/quorum.js";

describe("the majority", () => {
  it("is more than half: 1, 2, 2, 3, 3, 4, 4 of 1 to 7", () => {
    expect([1, 2, 3, 4, 5, 6, 7].map(majority)).toEqual([1, 2, 2, 3, 3, 4, 4]);
  });

  it("is the smallest quorum, and all backends are the largest", () => {
    expect([1, 2, 3, 4].map((quorum) => isQuorum(quorum, 3))).toEqual([false, true, true, false]);
    expect([1, 2, 3, 4, 5].map((quorum) => isQuorum(quorum, 4))).toEqual([false, false, true, true, false]);
  });

  it("is a whole number", () => {
    expect(isQuorum(2.5, 3)).toBe(false);
    expect(isQuorum(Number.NaN, 3)).toBe(false);
    expect(isQuorum(Number.POSITIVE_INFINITY, 3)).toBe(false);
  });

  it("does not exist without backends", () => {
    expect([0, 1].map((quorum) => isQuorum(quorum, 0))).toEqual([false, false]);
  });
});

describe("the overlap", () => {
  it("of 3 of 4 and 4 of 5 survives one and two forgetful backends", () => {
    expect(overlap(3, 4) - 1).toBe(1);
    expect(overlap(4, 5) - 1).toBe(2);
    expect(overlap(2, 3) - 1).toBe(0);
  });
});
