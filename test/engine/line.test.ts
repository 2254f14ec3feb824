import { describe, expect, it } from "vitest";
import {
  advanced,
  calledBy,
  joined,
  LINE_MAX,
  RESERVATION_MS,
  reservedMs,
  reservedNow,
  without,
  type KeptLine,
} from "../../src/engine/line.js";
import {
  acquireKey,
  extendKey,
  forceReleaseKey,
  leaveKey,
  liftKey,
  raiseKey,
  releaseKey,
  type KeptKey,
  type RecordContext,
} from "../../src/engine/record.js";

/** A clock that shows itself no finer than ten milliseconds, so that its two ends are told apart. */
const NOW: RecordContext = { now: { atLeastMs: 1_000, atMostMs: 1_010 }, retentionMs: 500 };
const RESERVED_UNTIL = 1_010 + RESERVATION_MS;

const A = { id: "a", since: 1n, until: 9_000 };
const B = { id: "b", since: 2n, until: 9_000 };
const GONE = { id: "gone", since: 0n, until: 1_000 };

const lineOf = (...waiting: KeptLine["waiting"]): KeptLine => ({ waiting, reserved: undefined });
const reservedFor = (id: string, until = RESERVED_UNTIL): KeptLine => ({
  waiting: [],
  reserved: { id, until },
});

describe("a line", () => {
  it("is in the order of when each wait began, and of the names where that is the same", () => {
    const one = joined(undefined, { id: "b", since: 2n, waitsMs: 50 }, NOW);
    expect(one).toEqual(lineOf({ id: "b", since: 2n, until: 1_060 }));
    const two = joined(one, { id: "c", since: 1n, waitsMs: 50 }, NOW);
    const three = joined(two, { id: "a", since: 2n, waitsMs: 50 }, NOW);
    expect(three?.waiting.map(({ id }) => id)).toEqual(["c", "a", "b"]);
  });

  it("is the same where a ticket stands in it for long enough, and takes its end anew where it does not", () => {
    const line = lineOf(A, B);
    expect(joined(line, { id: "a", since: 1n, waitsMs: 8_990 }, NOW)).toBe(line);
    expect(joined(line, { id: "a", since: 1n, waitsMs: 7_990 }, NOW)).toBe(line);
    const longer = joined(line, { id: "a", since: 1n, waitsMs: 8_991 }, NOW);
    expect(longer).toEqual(lineOf({ ...A, until: 10_001 }, B));
  });

  it("drops those whose wait is over, and takes no more than it has room for", () => {
    expect(joined(lineOf(GONE, B), { id: "a", since: 1n, waitsMs: 7_990 }, NOW)).toEqual(lineOf(A, B));
    const full = lineOf(
      ...Array.from({ length: LINE_MAX }, (_, i) => ({ id: `w${i}`, since: 5n, until: 9_000 })),
    );
    expect(joined(full, { id: "a", since: 1n, waitsMs: 50 }, NOW)).toBe(full);
    const one = lineOf(...full.waiting.slice(1), GONE);
    expect(joined(one, { id: "a", since: 1n, waitsMs: 50 }, NOW)?.waiting[0]?.id).toBe("a");
  });

  it("gives a free key to its first whose wait goes on, and calls the first two", () => {
    const next = advanced(lineOf(GONE, A, B), NOW);
    expect(next).toEqual({ waiting: [B], reserved: { id: "a", until: RESERVED_UNTIL } });
    expect(calledBy(next)).toEqual([
      { id: "a", inMs: 0 },
      { id: "b", inMs: RESERVATION_MS },
    ]);
    expect(calledBy(advanced(lineOf(B), NOW))).toEqual([{ id: "b", inMs: 0 }]);
    expect(advanced(lineOf(GONE), NOW)).toBeUndefined();
    expect(advanced(undefined, NOW)).toBeUndefined();
    expect(calledBy(undefined)).toEqual([]);
    expect(calledBy(lineOf(A))).toEqual([]);
  });

  it("loses a ticket with its place and with what is kept for it", () => {
    expect(without(lineOf(A, B), "a")).toEqual(lineOf(B));
    expect(without(reservedFor("a"), "a")).toBeUndefined();
    expect(without(reservedFor("a"), "b")).toEqual(reservedFor("a"));
    expect(without(undefined, "a")).toBeUndefined();
  });
});

describe("a reservation", () => {
  it("ends by the backend's clock, or when somebody knows that its time is up", () => {
    const line = reservedFor("a", 1_001);
    expect(reservedNow(line, NOW)).toEqual({ id: "a", until: 1_001 });
    expect(reservedNow(reservedFor("a", 1_000), NOW)).toBeUndefined();
    expect(reservedNow(line, { ...NOW, over: { id: "a", until: 1_001 } })).toBeUndefined();
    expect(reservedNow(line, { ...NOW, over: { id: "a", until: 900 } })).toEqual(line.reserved);
    expect(reservedNow(line, { ...NOW, over: { id: "b", until: 1_001 } })).toEqual(line.reserved);
    expect(reservedNow(lineOf(A), NOW)).toBeUndefined();
  });

  it("is never told to last longer than reservations do, however coarse the clock is", () => {
    expect(reservedMs({ id: "a", until: 1_040 }, NOW.now)).toBe(40);
    expect(reservedMs({ id: "a", until: 99_000 }, NOW.now)).toBe(RESERVATION_MS);
  });
});

const LOCK = { owner: "o", fence: 7n, expiresAt: 5_000 };
const kept = (more: Partial<KeptKey>): KeptKey => ({
  lock: undefined,
  counter: 9n,
  forgetAt: 9_000,
  ...more,
});
const asks = (owner: string, id?: string) => ({
  owner,
  ttlMs: 100,
  proposal: 20n,
  ticket: id === undefined ? undefined : { id, since: 1n, waitsMs: 7_990 },
});

describe("a key with a line", () => {
  it("is held while it has a lock, and a ticket then stands in line, with nothing else changed", () => {
    const step = acquireKey(kept({ lock: LOCK, line: lineOf(B) }), asks("p", "a"), NOW);
    expect(step).toEqual({
      answer: { kind: "held", remainingMs: 4_000 },
      next: kept({ lock: LOCK, line: lineOf(A, B) }),
      isAdvice: true,
    });
    const again = acquireKey(step.next, asks("p", "a"), NOW);
    expect(again).toEqual({ answer: step.answer, next: undefined });
    expect(acquireKey(kept({ lock: LOCK }), asks("p"), NOW).next).toBeUndefined();
  });

  it("is granted again to its owner, who stands in no line", () => {
    const step = acquireKey(kept({ lock: LOCK }), asks("o", "a"), NOW);
    expect(step).toEqual({ answer: { kind: "granted", fence: 7n }, next: undefined });
  });

  it("that an extension created anew ahead of the acquire has its owner stand in line no more", () => {
    const step = acquireKey(kept({ lock: LOCK, line: lineOf(A, B) }), asks("o", "a"), NOW);
    expect(step).toEqual({
      answer: { kind: "granted", fence: 7n },
      next: kept({ lock: LOCK, line: lineOf(B) }),
      isAdvice: true,
    });
  });

  it("goes from a release to the first in line: held to all others, granted to that ticket, which leaves the line", () => {
    for (const { next } of [
      releaseKey(kept({ lock: LOCK, line: lineOf(A, B) }), { owner: "o" }, NOW),
      forceReleaseKey(kept({ lock: LOCK, line: lineOf(A, B) }), NOW),
    ]) {
      expect(next?.lock).toBeUndefined();
      const other = acquireKey(next, asks("p"), NOW);
      const remainingMs = RESERVATION_MS;
      expect(other).toEqual({ answer: { kind: "held", remainingMs, reserved: true }, next: undefined });
      const third = acquireKey(next, asks("p", "c"), NOW);
      expect(third.isAdvice).toBe(true);
      expect(third.next?.line?.waiting.map(({ id }) => id)).toEqual(["c", "b"]);
      expect(third.next?.line?.reserved?.id).toBe("a");
      const { answer, next: granted } = acquireKey(next, asks("p", "a"), NOW);
      expect(answer).toEqual({ kind: "granted", fence: 20n });
      expect(granted?.line).toEqual(lineOf(B));
    }
  });

  it("that nobody is called for goes to whoever asks first, who stands in line no more", () => {
    const ended = kept({ lock: { ...LOCK, expiresAt: 1_000 }, line: lineOf(A, B) });
    expect(acquireKey(ended, asks("p", "a"), NOW).next?.line).toEqual(lineOf(B));
    expect(acquireKey(ended, asks("p"), NOW).next?.line).toEqual(lineOf(A, B));
  });

  it("goes from a release with a ticket to whoever is first with that one in line", () => {
    const ticket = { id: "a", since: 1n, waitsMs: 7_990 };
    const locked = kept({ lock: LOCK, line: lineOf(B) });
    const first = releaseKey(locked, { owner: "o", ticket }, NOW);
    expect(first.answer).toBe("released");
    expect(first.next?.line).toEqual({ waiting: [B], reserved: { id: "a", until: RESERVED_UNTIL } });
    const later = releaseKey(locked, { owner: "o", ticket: { ...ticket, since: 3n } }, NOW);
    expect(later.next?.line).toEqual({
      waiting: [{ ...A, since: 3n }],
      reserved: { id: "b", until: RESERVED_UNTIL },
    });
    const other = releaseKey(locked, { owner: "p", ticket }, NOW);
    expect(other).toEqual({ answer: "not-owner", next: undefined });
  });

  it("goes from a release with a ticket to that one where it is first, however many others wait", () => {
    const others = Array.from({ length: LINE_MAX }, (_, i) => ({
      id: `w${i}`,
      since: BigInt(5 + i),
      until: 9_000,
    }));
    const locked = kept({ lock: LOCK, line: lineOf(...others) });
    const ticket = { id: "a", since: 1n, waitsMs: 7_990 };
    const { next } = releaseKey(locked, { owner: "o", ticket }, NOW);
    expect(next?.line).toEqual({ waiting: others, reserved: { id: "a", until: RESERVED_UNTIL } });
    const later = releaseKey(locked, { owner: "o", ticket: { ...ticket, since: 999n } }, NOW);
    expect(later.next?.line?.waiting).toHaveLength(LINE_MAX);
    expect(later.next?.line?.waiting.at(-1)?.id).toBe("a");
  });

  it("keeps nothing of a line that is empty", () => {
    const { next } = releaseKey(kept({ lock: LOCK, line: lineOf(A) }), { owner: "o" }, NOW);
    const granted = acquireKey(next, asks("p", "a"), NOW).next;
    expect(granted).toEqual({
      lock: { owner: "p", fence: 20n, expiresAt: 1_110 },
      counter: 20n,
      forgetAt: 1_510,
    });
    expect(releaseKey(granted, { owner: "p" }, NOW).next).toHaveProperty("line", undefined);
  });

  it("is free for everybody when its lock ended by itself or the reservation is over, and keeps those who wait", () => {
    const ended = kept({ lock: { ...LOCK, expiresAt: 1_000 }, line: lineOf(A, B) });
    expect(acquireKey(ended, asks("p"), NOW).next?.line).toEqual(lineOf(A, B));
    const over = kept({ line: { waiting: [B], reserved: { id: "a", until: 1_000 } } });
    expect(acquireKey(over, asks("p"), NOW).next?.line).toEqual(lineOf(B));
  });

  it("is no lock to a raise, an extension and a release while it is only kept for somebody", () => {
    const reserved = kept({ line: reservedFor("a") });
    expect(raiseKey(reserved, { owner: "a", fence: 7n, token: 9n }, NOW).answer).toBe("refused");
    const extend = { owner: "p", ttlMs: 100, token: 9n, mayHeal: true, quarantined: false };
    expect(extendKey(reserved, extend, NOW)).toEqual({ answer: "not-owner", next: undefined });
    expect(releaseKey(reserved, { owner: "a" }, NOW).answer).toBe("not-owner");
    expect(forceReleaseKey(reserved, NOW)).toEqual({ answer: false, next: undefined });
  });

  it("keeps its line through a raise, an extension, healing and a lift", () => {
    const line = lineOf(A);
    const locked = kept({ lock: LOCK, line });
    const extend = { owner: "o", ttlMs: 100, token: 9n, mayHeal: true, quarantined: false };
    expect(raiseKey(locked, { owner: "o", fence: 7n, token: 9n }, NOW).next?.line).toBe(line);
    expect(extendKey(locked, extend, NOW).next?.line).toBe(line);
    expect(extendKey(kept({ line }), extend, NOW)).toMatchObject({ answer: "recreated", next: { line } });
    expect(liftKey(locked, 30n, NOW).next?.line).toBe(line);
  });

  it("goes to the next when the one for whom it is kept leaves; others only leave the line", () => {
    const line = { waiting: [B], reserved: { id: "a", until: RESERVED_UNTIL } };
    expect(leaveKey(kept({ line }), "a", NOW).next?.line).toEqual(reservedFor("b"));
    expect(leaveKey(kept({ line }), "b", NOW).next?.line).toEqual(reservedFor("a"));
    expect(leaveKey(kept({ lock: LOCK, line: lineOf(A, B) }), "a", NOW).next).toEqual(
      kept({ lock: LOCK, line: lineOf(B) }),
    );
    expect(
      leaveKey(kept({ lock: LOCK, line }), "a", NOW).next,
      "what is locked is kept for nobody",
    ).toBeUndefined();
    expect(leaveKey(kept({ line }), "c", NOW).next).toBeUndefined();
    expect(leaveKey(undefined, "c", NOW).next).toBeUndefined();
  });
});
