import { describe, expect, it } from "vitest";
import {
  acquireKey,
  extendKey,
  forceReleaseKey,
  isForgotten,
  keptNow,
  liftKey,
  NOTHING_KEPT,
  raiseKey,
  releaseKey,
  type KeptKey,
  type RecordContext,
} from "../../src/engine/record.js";
import { MAX_FENCE } from "../../src/engine/token.js";

/** A clock that shows itself no finer than ten milliseconds, so that its two ends are told apart. */
const NOW: RecordContext = { now: { atLeastMs: 1_000, atMostMs: 1_010 }, retentionMs: 500 };
const FORGET_AT = 1_510;

const LIVE: KeptKey = { lock: { owner: "a", fence: 7n, expiresAt: 1_001 }, counter: 9n, forgetAt: 1_400 };
const ENDED: KeptKey = { ...LIVE, lock: { owner: "a", fence: 7n, expiresAt: 1_000 } };
const FREE: KeptKey = { lock: undefined, counter: 9n, forgetAt: 1_400 };

describe("what counts of a record", () => {
  it("is nothing where nothing is kept", () => {
    expect(keptNow(undefined, NOW.now)).toBe(NOTHING_KEPT);
    expect(NOTHING_KEPT).toEqual({ lock: undefined, counter: 0n, forgetAt: 0 });
  });

  it("is a lock until its end, and its counter alone from then on", () => {
    expect(keptNow(LIVE, NOW.now)).toBe(LIVE);
    expect(keptNow(ENDED, NOW.now)).toEqual(FREE);
    expect(keptNow(FREE, NOW.now)).toBe(FREE);
  });

  it("is nothing from the end of its retention on, unless a lock still lives", () => {
    expect(keptNow({ ...FREE, forgetAt: 1_000 }, NOW.now)).toBe(NOTHING_KEPT);
    expect(keptNow({ ...ENDED, forgetAt: 1_000 }, NOW.now)).toBe(NOTHING_KEPT);
    expect(keptNow({ ...FREE, forgetAt: 1_001 }, NOW.now).counter).toBe(9n);
    const outlived = { ...LIVE, forgetAt: 1 };
    expect(keptNow(outlived, NOW.now)).toBe(outlived);
  });

  it("decides whether it may be deleted", () => {
    expect(isForgotten({ ...FREE, forgetAt: 1_000 }, NOW.now)).toBe(true);
    expect(isForgotten(FREE, NOW.now)).toBe(false);
    expect(isForgotten({ ...LIVE, forgetAt: 1 }, NOW.now)).toBe(false);
  });
});

describe("an acquire", () => {
  const request = { owner: "b", ttlMs: 100, proposal: 4n };

  it("is granted where no lock lives: from the later end of the clock, with the counter gone on", () => {
    expect(acquireKey(ENDED, request, NOW)).toEqual({
      answer: { kind: "granted", fence: 10n },
      next: { lock: { owner: "b", fence: 10n, expiresAt: 1_110 }, counter: 10n, forgetAt: FORGET_AT },
    });
    expect(acquireKey(undefined, request, NOW).answer).toEqual({ kind: "granted", fence: 4n });
  });

  it("is refused while another's lock lives, and changes nothing", () => {
    expect(acquireKey(LIVE, request, NOW)).toEqual({
      answer: { kind: "held", remainingMs: 1 },
      next: undefined,
    });
  });

  it("that comes twice is granted the same fence, and changes nothing", () => {
    expect(acquireKey(LIVE, { ...request, owner: "a" }, NOW)).toEqual({
      answer: { kind: "granted", fence: 7n },
      next: undefined,
    });
  });

  it("is not granted where the counter is full", () => {
    expect(acquireKey({ ...FREE, counter: MAX_FENCE }, request, NOW)).toEqual({
      answer: { kind: "counter-full" },
      next: undefined,
    });
  });
});

describe("a raise", () => {
  const request = { owner: "a", fence: 7n, token: 12n };

  it("lifts the counter where the lock of this owner and fence lives, and leaves the lock alone", () => {
    expect(raiseKey(LIVE, request, NOW)).toEqual({
      answer: "raised",
      next: { lock: LIVE.lock, counter: 12n, forgetAt: FORGET_AT },
    });
    expect(raiseKey(LIVE, { ...request, token: 3n }, NOW).next?.counter).toBe(9n);
  });

  it("is refused everywhere else, and changes nothing", () => {
    const refused = { answer: "refused", next: undefined };
    expect(raiseKey(ENDED, request, NOW)).toEqual(refused);
    expect(raiseKey(FREE, request, NOW)).toEqual(refused);
    expect(raiseKey(LIVE, { ...request, owner: "b" }, NOW)).toEqual(refused);
    expect(raiseKey(LIVE, { ...request, fence: 8n }, NOW)).toEqual(refused);
  });
});

describe("an extend", () => {
  const request = { owner: "a", ttlMs: 100, token: 12n, mayHeal: false, quarantined: false };

  it("moves the end on, from the later end of the clock, and lifts the counter", () => {
    expect(extendKey(LIVE, request, NOW)).toEqual({
      answer: "extended",
      next: { lock: { owner: "a", fence: 7n, expiresAt: 1_110 }, counter: 12n, forgetAt: FORGET_AT },
    });
  });

  it("never moves the end back, nor the counter", () => {
    const long: KeptKey = { ...LIVE, lock: { owner: "a", fence: 7n, expiresAt: 5_000 } };
    const { next } = extendKey(long, { ...request, token: 1n }, NOW);
    expect([next?.lock?.expiresAt, next?.counter]).toEqual([5_000, 9n]);
  });

  it("extends what a quarantined backend has, and makes nothing anew there", () => {
    expect(extendKey(LIVE, { ...request, quarantined: true }, NOW).answer).toBe("extended");
    const silent = { answer: "quarantined", next: undefined };
    expect(extendKey(FREE, { ...request, mayHeal: true, quarantined: true }, NOW)).toEqual(silent);
    expect(extendKey(LIVE, { ...request, owner: "b", quarantined: true }, NOW)).toEqual(silent);
  });

  it("makes the lock anew where it may and none is there, with a fence that no later grant falls behind", () => {
    expect(extendKey(ENDED, { ...request, mayHeal: true }, NOW)).toEqual({
      answer: "recreated",
      next: { lock: { owner: "a", fence: 12n, expiresAt: 1_110 }, counter: 12n, forgetAt: FORGET_AT },
    });
  });

  it("is denied where it may not heal, or another's lock lives", () => {
    const denied = { answer: "not-owner", next: undefined };
    expect(extendKey(FREE, request, NOW)).toEqual(denied);
    expect(extendKey(LIVE, { ...request, owner: "b", mayHeal: true }, NOW)).toEqual(denied);
  });
});

describe("what ends a lock", () => {
  it("is its owner's release; the counter stays", () => {
    const next = { lock: undefined, counter: 9n, forgetAt: FORGET_AT };
    expect(releaseKey(LIVE, { owner: "a" }, NOW)).toEqual({ answer: "released", next });
    for (const kept of [ENDED, FREE, undefined]) {
      expect(releaseKey(kept, { owner: "a" }, NOW)).toEqual({ answer: "not-owner", next: undefined });
    }
    expect(releaseKey(LIVE, { owner: "b" }, NOW)).toEqual({ answer: "not-owner", next: undefined });
  });

  it("is a forced release, whoever has it; the counter stays", () => {
    const next = { lock: undefined, counter: 9n, forgetAt: FORGET_AT };
    expect(forceReleaseKey(LIVE, NOW)).toEqual({ answer: true, next });
    expect(forceReleaseKey(ENDED, NOW)).toEqual({ answer: false, next: undefined });
  });
});

describe("a lift", () => {
  it("raises the counter and never lowers it, and leaves the lock alone", () => {
    expect(liftKey(LIVE, 20n, NOW)).toEqual({
      answer: 20n,
      next: { lock: LIVE.lock, counter: 20n, forgetAt: FORGET_AT },
    });
    expect(liftKey(LIVE, 2n, NOW).answer).toBe(9n);
    expect(liftKey(undefined, 2n, NOW).next).toEqual({ lock: undefined, counter: 2n, forgetAt: FORGET_AT });
  });
});
