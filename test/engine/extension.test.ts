import { describe, expect, it } from "vitest";
import { InvariantError } from "../../src/engine/assert.js";
import {
  castExtend,
  extensionVerdict,
  mayHeal,
  revokeExtend,
  startExtension,
  type Extension,
  type ExtendVote,
} from "../../src/engine/extension.js";
import { instant } from "../../src/engine/time.js";

const BEFORE = instant(99);
const END = instant(100);

function extension(n: number, quorum: number, ...votes: readonly ExtendVote[]): Extension {
  return votes.reduce((round, vote, i) => castExtend(round, i, vote), startExtension(n, quorum, END));
}

describe("an extension", () => {
  it("counts when q backends confirmed it in this round", () => {
    expect(extensionVerdict(extension(3, 2, "extended"), BEFORE)).toBe("pending");
    expect(extensionVerdict(extension(3, 2, "extended", "recreated"), BEFORE)).toBe("extended");
  });

  it("does not count when the old validity has ended, however many confirmed it", () => {
    const all = extension(3, 2, "extended", "extended", "extended");
    expect(extensionVerdict(all, instant(99.999))).toBe("extended");
    expect(extensionVerdict(all, END)).toBe("expired");
    expect(extensionVerdict(startExtension(3, 2, END), END)).toBe("expired");
  });

  it("fails when too many backends failed, and the lease goes on", () => {
    expect(extensionVerdict(extension(3, 2, "fault", "quarantined"), BEFORE)).toBe("failed");
    expect(extensionVerdict(extension(3, 2, "fault", "not-owner"), BEFORE)).toBe("failed");
  });

  it("is forced out when more than N - q backends deny it, and not before", () => {
    expect(extensionVerdict(extension(3, 2, "not-owner"), BEFORE)).toBe("pending");
    expect(extensionVerdict(extension(3, 2, "not-owner", "not-owner"), BEFORE)).toBe("forced-out");
    expect(extensionVerdict(extension(5, 3, "not-owner", "not-owner", "extended", "extended"), BEFORE)).toBe(
      "pending",
    );
    expect(extensionVerdict(extension(4, 3, "not-owner", "not-owner"), BEFORE)).toBe("forced-out");
    expect(extensionVerdict(extension(1, 1, "not-owner"), BEFORE)).toBe("forced-out");
  });

  it("is forced out even after the end, which tells more", () => {
    expect(extensionVerdict(extension(3, 2, "not-owner", "not-owner"), END)).toBe("forced-out");
  });

  it("listens to each backend once", () => {
    const round = extension(3, 2, "fault");
    expect(castExtend(round, 0, "extended")).toBe(round);
  });

  it("takes a vote back that was another memory's: it counts neither for nor against the lease", () => {
    const taken = revokeExtend(extension(3, 2, "extended", "not-owner"), 0);
    expect(taken.votes).toEqual(["fault", "not-owner", undefined]);
    expect(extensionVerdict(taken, BEFORE)).toBe("failed");
    expect(revokeExtend(extension(3, 2, "not-owner", "not-owner"), 1).votes).toEqual([
      "not-owner",
      "fault",
      undefined,
    ]);
    expect(castExtend(taken, 0, "extended")).toBe(taken);
  });

  it("has nothing to take back from a backend that did not answer, or failed", () => {
    const round = extension(3, 2, "fault");
    expect(revokeExtend(round, 0)).toBe(round);
    expect(revokeExtend(round, 1)).toBe(round);
  });

  it("has votes of its own backends only", () => {
    expect(() => castExtend(startExtension(3, 2, END), 3, "fault")).toThrow("the round's own backends");
    expect(() => castExtend(startExtension(3, 2, END), 3, "fault")).toThrow(InvariantError);
    expect(() => castExtend(startExtension(3, 2, END), -1, "fault")).toThrow(InvariantError);
  });
});

describe("the right to heal", () => {
  const now = instant(1_000);
  const confirmed = (agoMs: number, incarnation = "x") => ({ at: instant(1_000 - agoMs), incarnation });
  const since = { now, ttlMs: 300 };

  it("is given where the lease was never confirmed", () => {
    expect(mayHeal(undefined, "x", since)).toBe(true);
    expect(mayHeal(undefined, undefined, since)).toBe(true);
  });

  it("is given where the memory that confirmed it is gone", () => {
    expect(mayHeal(confirmed(1), "y", since)).toBe(true);
    expect(mayHeal(confirmed(1), "x", since)).toBe(false);
    expect(mayHeal(confirmed(1), undefined, since)).toBe(false);
    expect(mayHeal({ at: now, incarnation: undefined }, "y", since)).toBe(false);
  });

  it("is given where nothing was confirmed for a whole TTL", () => {
    expect(mayHeal(confirmed(299.9), "x", since)).toBe(false);
    expect(mayHeal(confirmed(300), "x", since)).toBe(true);
    expect(mayHeal(confirmed(301), undefined, since)).toBe(true);
  });
});
