/** What the adapter computes from what memcached shows. */
import { describe, expect, it } from "vitest";
import { readingOf } from "../../src/adapters/memcached/clock.js";
import { expirationIn } from "../../src/adapters/memcached/protocol.js";
import { itemKeyOf } from "../../src/adapters/memcached/store.js";

describe("the clock of a memcached", () => {
  const shown = (uptime: number, at: number): Parameters<typeof readingOf>[0] => ({
    uptime,
    askedAt: at,
    answeredAt: at + 1,
  });

  it("may be two seconds further than it shows", () => {
    expect(readingOf(shown(100, 5_000), undefined)).toEqual({ atLeastMs: 100_000, atMostMs: 102_000 });
    expect(readingOf(shown(100, 5_900), shown(100, 5_000))).toEqual({
      atLeastMs: 100_000,
      atMostMs: 102_000,
    });
    expect(readingOf(shown(103, 8_100), shown(100, 5_000))).toEqual({
      atLeastMs: 103_000,
      atMostMs: 105_000,
    });
  });

  it("is known to be further when its process stood still, and shows what it was before", () => {
    const { atLeastMs, atMostMs } = readingOf(shown(100, 15_000), shown(100, 5_000));
    expect(atLeastMs, "what it shows is true at least").toBe(100_000);
    expect(atMostMs, "ten seconds have passed since").toBeGreaterThanOrEqual(112_000);
  });
});

describe("the time after which an item is forgotten", () => {
  it("is relative up to 30 days, and a date beyond, since memcached takes larger numbers for one", () => {
    expect(expirationIn(2_592_000, 1_700_000_000)).toBe(2_592_000);
    expect(expirationIn(2_592_001, 1_700_000_000)).toBe(1_702_592_001);
  });

  it("is never, where a date would not fit", () => {
    expect(expirationIn(3_000_000_000, 1_700_000_000)).toBe(0);
  });
});

describe("the key of an item", () => {
  it("is the key itself where memcached and its tools can have it, and else a hash of it", () => {
    expect(itemKeyOf("ql", "a/b:c")).toBe("ql:k:a/b:c");
    expect(itemKeyOf("ql", "x".repeat(245))).toBe(`ql:k:${"x".repeat(245)}`);
    for (const key of ["x".repeat(246), "a b", "é", "a\n", ""]) {
      expect(itemKeyOf("ql", key)).toMatch(/^ql:h:[\w-]{43}$/);
    }
    expect(itemKeyOf("ql", "a b")).not.toBe(itemKeyOf("ql", "a  b"));
  });
});
