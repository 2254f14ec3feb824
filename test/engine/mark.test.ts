import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatMark,
  markBootstrapped,
  markFits,
  markJoined,
  markOf,
  markQuarantined,
  memoryOf,
  parseMark,
  quarantineLeftMs,
  type Mark,
  type MarkExpectation,
} from "../../src/engine/mark.js";

const FIGURES = { backends: 3, quorum: 2, maxTtlMs: 60_000 };
const EXPECTED: MarkExpectation = {
  figures: FIGURES,
  memory: "volatile",
  origin: "run1.hist1",
  quarantineMs: 62_000,
};
const FRESH = { id: "c0ffee", nowMs: 1_000 };

const mark: fc.Arbitrary<Mark> = fc.record({
  incarnation: fc.stringMatching(/^[vdo]\.[\w.]{0,20}\.[0-9a-f]{4}$/),
  backends: fc.integer({ min: 1, max: 31 }),
  quorum: fc.integer({ min: 1, max: 31 }),
  maxTtlMs: fc.integer({ min: 50, max: 86_400_000 }),
  joined: fc.boolean(),
  quarantinedUntil: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
});

describe("a mark", () => {
  it("comes back from its text as it was", () => {
    fc.assert(
      fc.property(mark, (each) => {
        expect(parseMark(formatMark(each))).toEqual(each);
      }),
    );
  });

  it("never says a shorter quarantine in its text", () => {
    const text = formatMark({ ...markOf(undefined, EXPECTED, FRESH), quarantinedUntil: 12.25 });
    expect(parseMark(text)?.quarantinedUntil).toBe(13);
  });

  it.each([
    "",
    "ql1",
    "ql2 v.x.1 3 2 60000 0 0",
    "ql1 v.x.1 3 2 60000 2 0",
    "ql1 v.x.1 3 2 60000 0 0 more",
    "an ql1 v.x.1 3 2 60000 0 0",
  ])("is not read out of %j", (text) => {
    expect(parseMark(text)).toBeUndefined();
  });

  it("is written anew, in quarantine and joined by nobody, where there is none", () => {
    const made = markOf(undefined, EXPECTED, FRESH);
    expect(made).toEqual({
      incarnation: "v.run1.hist1.c0ffee",
      ...FIGURES,
      joined: false,
      quarantinedUntil: 63_000,
    });
    expect(markFits(made, EXPECTED)).toBe(true);
    expect(markOf(made, EXPECTED, { id: "other", nowMs: 9_999 })).toBe(made);
  });

  it("of another origin tells that a deployment existed: the new one is joined", () => {
    const before = markOf(undefined, { ...EXPECTED, origin: "run1.hist10" }, FRESH);
    const made = markOf(before, EXPECTED, { id: "beef", nowMs: 5_000 });
    expect(made).toMatchObject({ incarnation: "v.run1.hist1.beef", joined: true, quarantinedUntil: 67_000 });
  });

  it('is in service at once where memory is never lost ("off")', () => {
    const made = markOf(undefined, { ...EXPECTED, memory: "off", origin: "" }, FRESH);
    expect(made).toMatchObject({ incarnation: "o.c0ffee", quarantinedUntil: 0 });
    expect(markOf(made, { ...EXPECTED, memory: "off", origin: "" }, FRESH)).toBe(made);
  });

  it("says by its first letter what its writers said of the memory", () => {
    for (const memory of ["volatile", "durable", "off"] as const) {
      expect(memoryOf(markOf(undefined, { ...EXPECTED, memory }, FRESH))).toBe(memory);
    }
    const made = markOf(undefined, EXPECTED, FRESH);
    expect(memoryOf({ ...made, incarnation: "x.run1.c0ffee" })).toBeUndefined();
    expect(memoryOf({ ...made, incarnation: "vx.c0ffee" })).toBeUndefined();
  });

  it("fits nobody with other figures, or who says something else of its memory", () => {
    const made = markOf(undefined, EXPECTED, FRESH);
    for (const other of [
      { ...EXPECTED, memory: "durable" as const },
      { ...EXPECTED, figures: { ...FIGURES, quorum: 3 } },
      { ...EXPECTED, figures: { ...FIGURES, backends: 5 } },
      { ...EXPECTED, figures: { ...FIGURES, maxTtlMs: 1_000 } },
    ]) {
      expect(markFits(made, other)).toBe(false);
    }
    expect(markFits(made, { ...EXPECTED, origin: "another", quarantineMs: 1 })).toBe(true);
  });

  it("is not written again where it is in service or joined already", () => {
    const made = markOf(undefined, EXPECTED, FRESH);
    const { incarnation } = made;
    expect(markBootstrapped(made, incarnation)).toEqual({ ...made, quarantinedUntil: 0 });
    expect(markBootstrapped({ ...made, quarantinedUntil: 0 }, incarnation)).toBeUndefined();
    expect(markJoined(made, incarnation)).toEqual({ ...made, joined: true });
    expect(markJoined({ ...made, joined: true }, incarnation)).toBeUndefined();
  });

  it("is put into service or joined by those alone who name its memory", () => {
    fc.assert(
      fc.property(mark, fc.string(), (each, other) => {
        fc.pre(other !== each.incarnation);
        expect(markBootstrapped(each, other)).toBeUndefined();
        expect(markJoined(each, other)).toBeUndefined();
        const started = markBootstrapped(each, each.incarnation) ?? each;
        expect(quarantineLeftMs(started, 0)).toBe(0);
        expect(started.joined).toBe(each.joined);
        const joined = markJoined(each, each.incarnation) ?? each;
        expect(joined).toEqual({ ...each, joined: true });
      }),
    );
  });

  it("that is quarantined by hand has another name of the same origin, is joined, and waits the whole time", () => {
    fc.assert(
      fc.property(mark, (each) => {
        const begun = markQuarantined(each, { id: "ffff0", nowMs: 500, quarantineMs: 100 });
        expect(begun.incarnation).not.toBe(each.incarnation);
        expect(begun.incarnation.slice(0, -5)).toBe(each.incarnation.replace(/[^.]*$/, ""));
        expect(begun.joined).toBe(true);
        expect(quarantineLeftMs(begun, 599)).toBe(1);
        expect(quarantineLeftMs(begun, 601)).toBe(0);
      }),
    );
  });
});
