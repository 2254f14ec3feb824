import { describe, expect, it } from "vitest";
import { InvariantError } from "../../src/engine/assert.js";
import {
  castRaise,
  castVote,
  dueRaises,
  freeInMs,
  giveUp,
  raiseSent,
  refusalReason,
  startRound,
  toRelease,
  verdict,
  type Round,
  type Vote,
} from "../../src/engine/round.js";
import { instant } from "../../src/engine/time.js";

const granted = (fence: bigint): Vote => ({ kind: "granted", fence });
const held = (remainingMs?: number): Vote => ({ kind: "held", remainingMs });
const quarantined = (remainingMs: number): Vote => ({ kind: "quarantined", remainingMs });
const fault: Vote = { kind: "fault" };

const BEFORE = instant(99);
const END = instant(100);

/** A round of n backends, valid until 100, in which the first ones answered so. */
function roundOf(n: number, quorum: number, ...votes: readonly Vote[]): Round {
  return votes.reduce((round, vote, i) => castVote(round, i, vote), startRound(n, quorum, END));
}

it("begins with nothing known of any backend", () => {
  const nothing = [undefined, undefined, undefined];
  expect(startRound(3, 2, END)).toMatchObject({ remainingMs: nothing, fences: nothing, token: undefined });
});

describe("the verdict", () => {
  it("is won at the q-th equal grant, in one round trip", () => {
    expect(verdict(roundOf(3, 2, granted(7n)), BEFORE)).toBe("pending");
    expect(verdict(roundOf(3, 2, granted(7n), granted(7n)), BEFORE)).toBe("won");
  });

  it("is lost at once after an even split: two of four, one of two", () => {
    expect(verdict(roundOf(4, 3, granted(7n), held(), granted(7n), held()), BEFORE)).toBe("lost");
    expect(verdict(roundOf(4, 3, held(), held()), BEFORE)).toBe("lost");
    expect(verdict(roundOf(2, 2, granted(7n), held()), BEFORE)).toBe("lost");
    expect(verdict(roundOf(2, 2, held()), BEFORE)).toBe("lost");
  });

  it("does not wait for a silent backend", () => {
    expect(verdict(roundOf(3, 2, granted(7n), granted(7n)), BEFORE)).toBe("won");
    expect(verdict(roundOf(3, 2, held(), held()), BEFORE)).toBe("lost");
    expect(verdict(roundOf(3, 2, granted(7n), held()), BEFORE)).toBe("pending");
  });

  it("takes quarantined backends and faults for no votes", () => {
    expect(verdict(roundOf(3, 2, quarantined(5), fault), BEFORE)).toBe("lost");
    expect(verdict(roundOf(3, 2, quarantined(5), granted(7n), granted(7n)), BEFORE)).toBe("won");
  });

  it("is lost when validity has ended, however many granted", () => {
    const all = roundOf(3, 2, granted(7n), granted(7n), granted(7n));
    expect(verdict(all, instant(99.999))).toBe("won");
    expect(verdict(all, END)).toBe("lost");
    expect(verdict(startRound(3, 2, END), END)).toBe("lost");
  });
});

describe("the token", () => {
  it("is the largest of the first q fences; the others need a raise", () => {
    const round = roundOf(3, 2, granted(7n), granted(9n));
    expect(round.token).toBe(9n);
    expect(round.seats).toEqual(["behind", "known", "waiting"]);
    expect(dueRaises(round)).toEqual([0]);
    expect(verdict(round, BEFORE)).toBe("pending");
    expect(verdict(castRaise(raiseSent(round, 0), 0, "raised"), BEFORE)).toBe("won");
  });

  it("is not known by a backend whose raise was refused or failed", () => {
    for (const vote of ["refused", "fault"] as const) {
      const round = castRaise(raiseSent(roundOf(2, 2, granted(7n), granted(9n)), 0), 0, vote);
      expect(verdict(round, BEFORE)).toBe("lost");
    }
  });

  it("counts a later grant that is equal, raises a smaller one, and never counts a larger one", () => {
    const fixed = roundOf(4, 3, granted(7n), granted(7n), granted(7n));
    expect(castVote(fixed, 3, granted(7n)).seats[3]).toBe("known");
    expect(dueRaises(castVote(fixed, 3, granted(6n)))).toEqual([3]);
    const ahead = castVote(fixed, 3, granted(8n));
    expect([ahead.seats[3], ahead.token, dueRaises(ahead)]).toEqual(["ahead", 7n, []]);
  });

  it("is not won by a grant above it: another attempt may have taken that number", () => {
    let round = roundOf(3, 2, granted(7n), granted(9n));
    round = castRaise(raiseSent(round, 0), 0, "refused");
    expect(verdict(round, BEFORE)).toBe("pending");
    expect(verdict(castVote(round, 2, granted(10n)), BEFORE)).toBe("lost");
    expect(verdict(castVote(round, 2, granted(9n)), BEFORE)).toBe("won");
  });

  it("stays that of the first grant when a duplicated request is granted anew", () => {
    const round = castVote(roundOf(3, 2, granted(7n)), 0, granted(12n));
    expect(castVote(round, 1, granted(7n)).token).toBe(7n);
  });
});

describe("giving up", () => {
  it("turns everybody who owes an answer into a fault, and later answers change nothing", () => {
    let round = raiseSent(roundOf(4, 3, granted(7n), granted(8n), granted(8n)), 0);
    round = giveUp(round);
    expect(round.seats).toEqual(["fault", "known", "known", "fault"]);
    expect(verdict(round, BEFORE)).toBe("lost");
    expect(castVote(round, 3, granted(8n))).toBe(round);
    expect(castRaise(round, 0, "raised")).toBe(round);
  });
});

describe("what is released", () => {
  it("is all but what is known to have granted nothing: also the silent, the failed and the refused", () => {
    let round = roundOf(6, 4, granted(7n), held(), fault, quarantined(3));
    expect(toRelease(round)).toEqual([0, 2, 4, 5]);
    round = giveUp(round);
    expect(toRelease(round)).toEqual([0, 2, 4, 5]);
  });
});

describe("the reason of a refusal", () => {
  it("is held only when enough backends voted", () => {
    expect(refusalReason(roundOf(3, 2, held(), granted(7n)))).toBe("held");
    expect(refusalReason(roundOf(3, 2, held(), fault, fault))).toBe("no-quorum");
    expect(refusalReason(giveUp(roundOf(3, 2, held())))).toBe("no-quorum");
  });

  it("is held when the round was lost before all had the time to vote", () => {
    expect(refusalReason(roundOf(3, 2, held()))).toBe("held");
    expect(refusalReason(roundOf(5, 3, fault, fault, held()))).toBe("held");
    expect(refusalReason(roundOf(5, 3, fault, fault, fault, held()))).toBe("no-quorum");
  });

  it("is quarantined when only the quarantine was missing to a quorum", () => {
    expect(refusalReason(roundOf(3, 2, quarantined(9), granted(7n), fault))).toBe("quarantined");
    expect(refusalReason(roundOf(3, 2, quarantined(9), fault, fault))).toBe("no-quorum");
    expect(refusalReason(roundOf(3, 2, quarantined(9), held(), held()))).toBe("held");
    expect(refusalReason(roundOf(3, 2, quarantined(9), held(), fault))).toBe("quarantined");
  });

  it("is no-quorum when nobody answered", () => {
    expect(refusalReason(giveUp(startRound(3, 2, END)))).toBe("no-quorum");
  });
});

describe("when a quorum may be free", () => {
  it("is the q-th smallest wait", () => {
    expect(freeInMs(roundOf(3, 2, held(50), held(20), held(90)))).toBe(50);
    expect(freeInMs(roundOf(3, 2, held(50), granted(7n), quarantined(30)))).toBe(30);
    expect(freeInMs(roundOf(3, 2, granted(7n), granted(8n)))).toBe(0);
  });

  it("is unknown when too few said anything", () => {
    expect(freeInMs(roundOf(3, 2, held(50), held(), fault))).toBeUndefined();
    expect(freeInMs(startRound(3, 2, END))).toBeUndefined();
  });

  it("is not told by a key that is kept for somebody who is called", () => {
    const reserved: Vote = { kind: "held", remainingMs: 20, reserved: true };
    const round = roundOf(3, 2, held(50), reserved);
    expect([round.seats[1], round.remainingMs[1]]).toEqual(["held", undefined]);
    expect(freeInMs(round)).toBeUndefined();
  });
});

describe("a misuse", () => {
  it("is a broken invariant: votes of unknown backends, raises that are not due", () => {
    const round = roundOf(3, 2, granted(7n), granted(7n));
    expect(() => castVote(round, 3, fault)).toThrow("votes come from the round's own backends");
    expect(() => raiseSent(round, 0)).toThrow("a raise is sent only where one is due");
    expect(() => castVote(round, 3, fault)).toThrow(InvariantError);
    expect(() => castVote(round, -1, fault)).toThrow(InvariantError);
    expect(() => castRaise(round, 3, "raised")).toThrow(InvariantError);
    expect(() => raiseSent(round, 0)).toThrow(InvariantError);
    expect(() => raiseSent(raiseSent(roundOf(2, 2, granted(7n), granted(8n)), 0), 0)).toThrow(InvariantError);
  });

  it("is a broken invariant: an answer of no known kind", () => {
    const raising = raiseSent(roundOf(2, 2, granted(7n), granted(8n)), 0);
    expect(() => castVote(startRound(1, 1, END), 0, { kind: "other" } as never)).toThrow(InvariantError);
    expect(() => castRaise(raising, 0, "other" as never)).toThrow(InvariantError);
  });

  it("is harmless where it can come from a late answer: a raise that was never sent", () => {
    const round = roundOf(3, 2, granted(7n), granted(8n));
    expect(castRaise(round, 0, "raised")).toBe(round);
  });
});
