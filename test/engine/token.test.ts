import { describe, expect, it } from "vitest";
import {
  clampProposal,
  higherFence,
  MAX_FENCE,
  mintFence,
  nextProposal,
  skewMicros,
} from "../../src/engine/token.js";

describe("proposals", () => {
  it("are the wall clock, or one more than the last", () => {
    expect(nextProposal(0n, 1_000n)).toBe(1_000n);
    expect(nextProposal(1_000n, 1_000n)).toBe(1_001n);
    expect(nextProposal(5_000n, 1_000n)).toBe(5_001n);
    expect(nextProposal(999n, 1_000n)).toBe(1_000n);
  });

  it("of 2^53 - 2 or more are not made", () => {
    expect(MAX_FENCE).toBe(9_007_199_254_740_990n);
    expect(nextProposal(0n, MAX_FENCE - 1n)).toBe(MAX_FENCE - 1n);
    expect(nextProposal(0n, MAX_FENCE)).toBeUndefined();
    expect(nextProposal(MAX_FENCE - 1n, 0n)).toBeUndefined();
    expect(nextProposal(MAX_FENCE - 2n, 0n)).toBe(MAX_FENCE - 1n);
  });

  it("are moved to the nearer end of the backend's window", () => {
    const clamped = [899n, 900n, 1_000n, 1_100n, 1_101n].map((each) => clampProposal(each, 1_000n, 100n));
    expect(clamped).toEqual([900n, 900n, 1_000n, 1_100n, 1_100n]);
    expect(clampProposal(5n, 1_000n, 0n)).toBe(1_000n);
  });

  it("have a window in microseconds", () => {
    expect([0, 1, 1_000, 0.0005].map(skewMicros)).toEqual([0n, 1_000n, 1_000_000n, 1n]);
  });
});

describe("a backend mints", () => {
  it("the proposal when it is above the counter, else the counter and one", () => {
    expect(mintFence(0n, 7n)).toBe(7n);
    expect(mintFence(6n, 7n)).toBe(7n);
    expect(mintFence(7n, 7n)).toBe(8n);
    expect(mintFence(9n, 7n)).toBe(10n);
    expect(mintFence(0n, -5n)).toBe(1n);
    expect(mintFence(0n, 0n)).toBe(1n);
  });

  it("up to 2^53 - 2 and no further, where doubles still tell numbers apart", () => {
    expect(mintFence(MAX_FENCE - 1n, 0n)).toBe(MAX_FENCE);
    expect(mintFence(0n, MAX_FENCE)).toBe(MAX_FENCE);
    expect(mintFence(MAX_FENCE, 0n)).toBeUndefined();
    expect(mintFence(MAX_FENCE + 5n, 0n)).toBeUndefined();
    expect(mintFence(0n, MAX_FENCE + 1n)).toBeUndefined();
    expect(Number(MAX_FENCE) + 1).toBeGreaterThan(Number(MAX_FENCE));
    expect(Number(MAX_FENCE + 3n)).toBe(Number(MAX_FENCE + 2n));
  });
});

describe("the higher fence", () => {
  it("is the larger of the two, also beyond what doubles tell apart", () => {
    expect(higherFence(1n, 2n)).toBe(2n);
    expect(higherFence(2n, 1n)).toBe(2n);
    expect(higherFence(2n ** 60n, 2n ** 60n + 1n)).toBe(2n ** 60n + 1n);
  });
});
