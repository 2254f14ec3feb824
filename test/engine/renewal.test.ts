import { describe, expect, it } from "vitest";
import { renewalDelayMs } from "../../src/engine/renewal.js";

describe("the pause before an extension", () => {
  it("is a third of a fresh validity, or a twentieth of it less", () => {
    const fresh = { remainingMs: 9_000, validityMs: 9_000, failures: 0 };
    expect(renewalDelayMs(fresh, 0)).toBeCloseTo(3_000, 9);
    expect(renewalDelayMs(fresh, 1)).toBeCloseTo(2_550, 9);
  });

  it("counts from the start of validity, not from now: a late start shortens it", () => {
    expect(renewalDelayMs({ remainingMs: 8_000, validityMs: 9_000, failures: 0 }, 0)).toBeCloseTo(2_000, 9);
    expect(renewalDelayMs({ remainingMs: 6_000, validityMs: 9_000, failures: 0 }, 0)).toBe(450);
  });

  it("is a quarter of what remains after a failure", () => {
    expect(renewalDelayMs({ remainingMs: 6_000, validityMs: 9_000, failures: 1 }, 0)).toBe(1_500);
    expect(renewalDelayMs({ remainingMs: 4_000, validityMs: 9_000, failures: 7 }, 0)).toBe(1_000);
    expect(renewalDelayMs({ remainingMs: 6_000, validityMs: 9_000, failures: 1 }, 1)).toBe(1_500 - 112.5);
  });

  it("is a twentieth of the validity at least, whatever is left", () => {
    for (const failures of [0, 1, 9]) {
      expect(renewalDelayMs({ remainingMs: 1, validityMs: 9_000, failures }, 0.5)).toBe(450);
      expect(renewalDelayMs({ remainingMs: -5_000, validityMs: 9_000, failures }, 0)).toBe(450);
    }
  });
});
