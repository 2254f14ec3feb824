import { describe, expect, it } from "vitest";
import {
  adoptedUntil,
  adoptionVerdict,
  castSighting,
  startAdoption,
  testimony,
  type Adoption,
  type LeaseSighting,
} from "../../src/engine/adoption.js";
import { InvariantError } from "../../src/engine/assert.js";
import { instant } from "../../src/engine/time.js";

const LEASE = { quorum: 2, owner: "ours", token: 5n };
const locked = (owner: string, counter: bigint, remainingMs = 10): LeaseSighting => ({
  kind: "locked",
  owner,
  counter,
  remainingMs,
});
const free: LeaseSighting = { kind: "free" };
const fault: LeaseSighting = { kind: "fault" };

/** Of three backends, of which the first ones showed this. */
function adoption(...seen: readonly LeaseSighting[]): Adoption {
  return seen.reduce((before, each, i) => castSighting(before, i, each), startAdoption(3, LEASE));
}

describe("a testimony", () => {
  it("is for the lease where its owner has the lock and exactly its token is remembered", () => {
    expect(testimony(locked("ours", 5n), LEASE)).toBe("vouches");
  });

  it("is against it where another has the lock, a later token is remembered, or nobody has it", () => {
    expect(testimony(locked("theirs", 5n), LEASE)).toBe("denies");
    expect(testimony(locked("ours", 6n), LEASE)).toBe("denies");
    expect(testimony(free, LEASE)).toBe("denies");
  });

  it("is none where less is remembered, or nobody can say", () => {
    expect(testimony(locked("ours", 4n), LEASE)).toBe("cannot-tell");
    expect(testimony({ kind: "quarantined" }, LEASE)).toBe("cannot-tell");
    expect(testimony(fault, LEASE)).toBe("cannot-tell");
  });

  it("of another kind is a broken invariant", () => {
    expect(() => testimony({ kind: "other" } as never, LEASE)).toThrow(InvariantError);
  });
});

describe("an adoption", () => {
  it("is vouched for as soon as q backends do, for as long as q of their locks last", () => {
    expect(adoptionVerdict(adoption(locked("ours", 5n, 30)))).toEqual({ kind: "pending" });
    const two = adoption(locked("ours", 5n, 30), locked("ours", 5n, 20));
    expect(adoptionVerdict(two)).toEqual({ kind: "vouched", remainingMs: 20 });
    expect(adoptionVerdict(castSighting(two, 2, locked("ours", 5n, 9)))).toEqual({
      kind: "vouched",
      remainingMs: 20,
    });
  });

  it("is denied when more than N - q backends deny it, and not before", () => {
    expect(adoptionVerdict(adoption(free))).toEqual({ kind: "pending" });
    expect(adoptionVerdict(adoption(free, locked("theirs", 9n)))).toEqual({ kind: "denied" });
  });

  it("has no quorum when too few can still vouch", () => {
    expect(adoptionVerdict(adoption(fault))).toEqual({ kind: "pending" });
    expect(adoptionVerdict(adoption(fault, free))).toEqual({ kind: "no-quorum" });
    expect(adoptionVerdict(adoption(fault, fault))).toEqual({ kind: "no-quorum" });
  });

  it("listens to each backend once", () => {
    const seen = adoption(free);
    expect(castSighting(seen, 0, locked("ours", 5n))).toBe(seen);
  });

  it("has sightings of its own backends only", () => {
    for (const index of [-1, 3]) {
      expect(() => castSighting(adoption(), index, free)).toThrow(InvariantError);
      expect(() => castSighting(adoption(), index, free)).toThrow("the adoption's own backends");
    }
  });

  it("ends when the locks may, counted from the first question, or earlier where that was stated", () => {
    const bounds = { driftPpm: 0, earlyByMs: 1, grainMs: 2 };
    expect(adoptedUntil(instant(100), { remainingMs: 50, statedMs: 60 }, bounds)).toBe(147);
    expect(adoptedUntil(instant(100), { remainingMs: 50, statedMs: 40 }, bounds)).toBe(140);
  });
});
