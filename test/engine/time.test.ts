import { describe, expect, it } from "vitest";
import { assert, InvariantError, unreachable } from "../../src/engine/assert.js";
import { after, elapsedMs, instant, latest } from "../../src/engine/time.js";

describe("instants", () => {
  it("differ by durations", () => {
    const from = instant(100);
    expect(after(from, 50)).toBe(150);
    expect(elapsedMs(from, after(from, 50))).toBe(50);
    expect(elapsedMs(after(from, 50), from)).toBe(-50);
  });

  it("have a later one", () => {
    expect(latest(instant(1), instant(2))).toBe(2);
    expect(latest(instant(2), instant(1))).toBe(2);
    expect(latest(instant(2), instant(2))).toBe(2);
  });
});

describe("invariants", () => {
  it("throw a coded error when they are broken, and only then", () => {
    expect(() => assert(true, "all is well")).not.toThrow();
    expect(() => assert(false, "two and two are four")).toThrow(InvariantError);
    expect(() => assert(false, "two and two are four")).toThrow("two and two are four");
    expect(() => unreachable("x" as never)).toThrow(expect.objectContaining({ code: "INVARIANT" }));
  });

  it("say whose fault it is, and what was broken", () => {
    const broken = { name: "InvariantError", code: "INVARIANT" };
    expect(() => assert(false, "one is two")).toThrow(
      expect.objectContaining({ ...broken, message: "quorum-lock broke its own invariant: one is two" }),
    );
    expect(() => unreachable("x" as never)).toThrow(
      expect.objectContaining({ ...broken, message: "quorum-lock met a value outside its own union: x" }),
    );
  });
});
