import { describe, expect, it } from "vitest";
import { quarantineMs, validityMs } from "../../src/engine/validity.js";

describe("validity", () => {
  it("is the TTL, shortened by twice the drift, the early end and the grain", () => {
    expect(validityMs(10_000, { driftPpm: 5_000, earlyByMs: 1, grainMs: 1 })).toBeCloseTo(
      (9_999 * 0.995) / 1.005 - 1,
      9,
    );
    expect(validityMs(10_000, { driftPpm: 0, earlyByMs: 0, grainMs: 0 })).toBe(10_000);
    expect(validityMs(10_000, { driftPpm: 0, earlyByMs: 3, grainMs: 4 })).toBe(9_993);
  });

  it("is about a hundredth of the TTL shorter with the usual drift", () => {
    const ms = validityMs(10_000, { driftPpm: 5_000, earlyByMs: 0, grainMs: 0 });
    expect(ms).toBeGreaterThan(9_900);
    expect(ms).toBeLessThan(9_901);
  });

  it("is never negative", () => {
    expect(validityMs(50, { driftPpm: 5_000, earlyByMs: 60, grainMs: 1 })).toBe(0);
    expect(validityMs(1, { driftPpm: 0, earlyByMs: 0, grainMs: 1 })).toBe(0);
  });
});

describe("quarantine", () => {
  it("is the longest TTL, stretched by twice the drift, two skews and the grains, rounded up", () => {
    const bounds = { maxTtlMs: 60_000, clockSkewMs: 1_000, driftPpm: 5_000, lateByMs: 0 };
    expect(quarantineMs(bounds)).toBe(Math.ceil((60_000 * 1.005) / 0.995 + 2_000 + 2));
    expect(quarantineMs({ ...bounds, lateByMs: 1_500 })).toBe(quarantineMs(bounds) + 1_500);
    expect(quarantineMs({ ...bounds, clockSkewMs: 1_001 })).toBe(quarantineMs(bounds) + 2);
    expect(quarantineMs({ maxTtlMs: 100, clockSkewMs: 0, driftPpm: 0, lateByMs: 0 })).toBe(102);
  });
});
