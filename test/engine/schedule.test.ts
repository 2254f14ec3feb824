import { describe, expect, it } from "vitest";
import { REQUEST_DEADLINE_MS_MAX, requestDeadlineMs, retryDelayMs } from "../../src/engine/schedule.js";

const BOUNDS = { delayMsMin: 10, delayMsMax: 250 };

describe("the pause before a retry", () => {
  it("has an upper bound that doubles with every attempt, up to the longest pause", () => {
    const longest = [0, 1, 2, 3, 4, 5, 6, 60].map((attempts) => retryDelayMs(attempts, BOUNDS, 1 - 2 ** -53));
    expect(longest.map(Math.round)).toEqual([10, 20, 40, 80, 160, 250, 250, 250]);
  });

  it("is the shortest pause when the dice say 0, and in the middle when they say a half", () => {
    expect([0, 1, 5, 50].map((attempts) => retryDelayMs(attempts, BOUNDS, 0))).toEqual([10, 10, 10, 10]);
    expect(retryDelayMs(1, BOUNDS, 0.5)).toBe(15);
    expect(retryDelayMs(9, BOUNDS, 0.5)).toBe(130);
  });

  it("is fixed when the bounds are equal", () => {
    expect(retryDelayMs(7, { delayMsMin: 30, delayMsMax: 30 }, 0.9)).toBe(30);
  });
});

describe("the deadline of a request", () => {
  it("is a fifth of the TTL, and never above the longest", () => {
    expect([50, 100, 5_000, 9_999].map(requestDeadlineMs)).toEqual([10, 20, 1_000, 1_999.8]);
    expect([10_000, 10_001, 86_400_000].map(requestDeadlineMs)).toEqual([2_000, 2_000, 2_000]);
    expect(REQUEST_DEADLINE_MS_MAX).toBe(2_000);
  });
});
