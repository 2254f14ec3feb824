/** The keeper with many leases: no network, no locker; what it sends and which timers it starts, in virtual time. */
import { describe, expect, it } from "vitest";
import { renewalDelayMs } from "../../src/engine/renewal.js";
import { after, elapsedMs, type Instant, type System, type Timer } from "../../src/engine/time.js";
import { validityMs, type ClockBounds } from "../../src/engine/validity.js";
import type { ExtensionOutcome } from "../../src/lock/extend.js";
import {
  createKeeper,
  EXTENSIONS_AT_ONCE,
  UNANSWERED,
  type Extendable,
  type Keeper,
  type Kept,
} from "../../src/lock/keeper.js";
import { lossInstant } from "../../src/lock/loss-watch.js";
import { createVirtualTime, type VirtualProcess, type VirtualTime } from "../../src/testing/index.js";
import { drain } from "./stage.js";

const BOUNDS: ClockBounds = { driftPpm: 500, earlyByMs: 0, grainMs: 1 };

interface Sent {
  readonly lease: FakeLease;
  readonly atMs: number;
}

interface FakeLease extends Extendable {
  readonly number: number;
  validUntil: Instant;
  lostAtMs: number | undefined;
}

interface Answers {
  readonly afterMs: number;
  /** So much later for each lease that was held before. */
  readonly perLeaseMs?: number;
  readonly kind: ExtensionOutcome["kind"];
}

interface Bench {
  readonly time: VirtualTime;
  readonly process: VirtualProcess;
  readonly keeper: Keeper<FakeLease>;
  readonly sent: readonly Sent[];
  /** How long an extension takes from now on, and how it ends; undefined: it is not answered. */
  answers: Answers | undefined;
  /** Timers that have neither fired nor been cancelled. */
  timers(): number;
  timersStarted(): number;
  hold(options: { readonly ttlMs: number; readonly kept?: boolean }): {
    lease: FakeLease;
    kept: Kept<FakeLease>;
  };
}

function createBench(seed = 1): Bench {
  const time = createVirtualTime({ seed, drain });
  const process = time.process();
  const running = new Set<Timer>();
  let started = 0;
  const system: System = {
    now: process.now,
    look: process.look,
    wallMs: process.wallMs,
    propose: process.propose,
    random: process.random,
    newOwner: process.newOwner,
    startTimer(purpose, delayMs, run): Timer {
      started++;
      const timer = process.startTimer(purpose, delayMs, () => {
        running.delete(timer);
        run();
      });
      running.add(timer);
      return timer;
    },
    cancelTimer(timer): void {
      running.delete(timer);
      process.cancelTimer(timer);
    },
  };
  const keeper = createKeeper<FakeLease>({ system, clockBounds: BOUNDS });
  const sent: Sent[] = [];
  let leases = 0;

  const bench: Bench = {
    time,
    process,
    keeper,
    sent,
    answers: { afterMs: 2, kind: "extended" },
    timers: () => running.size,
    timersStarted: () => started,
    hold({ ttlMs, kept: isKept = true }) {
      const wholeMs = validityMs(ttlMs, BOUNDS);
      const lease: FakeLease = {
        number: leases++,
        validUntil: after(process.now(), wholeMs),
        lostAtMs: undefined,
        get lossAt(): Instant {
          return lossInstant(lease.validUntil, wholeMs);
        },
        expire(): void {
          lease.lostAtMs = process.now();
          keeper.drop(kept);
        },
        async extendOnce(): Promise<ExtensionOutcome> {
          const sentAt = process.now();
          sent.push({ lease, atMs: sentAt });
          const { answers } = bench;
          if (answers === undefined) return new Promise(() => undefined);
          await time.sleep(answers.afterMs + lease.number * (answers.perLeaseMs ?? 0));
          if (answers.kind === "extended") lease.validUntil = after(sentAt, wholeMs);
          return { kind: answers.kind, votes: () => [] };
        },
      };
      const kept = keeper.hold(lease, isKept ? ttlMs : 0);
      return { lease, kept };
    },
  };
  return bench;
}

/** How many were sent in each millisecond in which any was. */
function perMs(sent: readonly Sent[]): readonly number[] {
  const counts = new Map<number, number>();
  for (const { atMs } of sent) counts.set(Math.floor(atMs), (counts.get(Math.floor(atMs)) ?? 0) + 1);
  return [...counts.values()];
}

describe("a keeper of a thousand leases", () => {
  it.each([
    ["kept", true],
    ["watched only", false],
  ] as const)("has one timer for all of them: %s", async (_, kept) => {
    const bench = createBench();
    for (let i = 0; i < 1_000; i++) {
      bench.hold({ ttlMs: 30_000, kept });
      await bench.time.advance(0.1);
      expect(bench.timers()).toBeLessThanOrEqual(1);
    }
    const before = bench.timersStarted();
    await bench.time.advance(5_000);
    expect(bench.timers()).toBe(1);
    // Four looks at the clock in a second, and those that move entries down the wheel.
    expect(bench.timersStarted() - before).toBeLessThan(150);
  });

  it("extends each of them a third into its validity, never late, and early by the jitter and a bucket at most", async () => {
    const bench = createBench();
    const ttlMs = 30_000;
    const wholeMs = validityMs(ttlMs, BOUNDS);
    const heldAt = new Map<FakeLease, number>();
    for (let i = 0; i < 1_000; i++) {
      heldAt.set(bench.hold({ ttlMs }).lease, bench.process.now());
      await bench.time.advance(3);
    }
    await bench.time.advance(10_000);
    expect(new Set(bench.sent.map(({ lease }) => lease)).size).toBe(1_000);
    const seen = new Set<FakeLease>();
    for (const { lease, atMs } of bench.sent) {
      if (seen.has(lease)) continue;
      seen.add(lease);
      const afterMs = atMs - (heldAt.get(lease) ?? 0);
      expect(afterMs).toBeLessThan(wholeMs / 3 + 2);
      expect(afterMs).toBeGreaterThan(wholeMs / 3 - wholeMs / 20 - 32);
    }
  });

  it.each([50, 120, 1_000])("keeps those with a TTL of %i ms as well as those of 30 s", async (ttlMs) => {
    const bench = createBench();
    const held = Array.from({ length: 20 }, (_, i) => bench.hold({ ttlMs: i % 2 === 0 ? ttlMs : 30_000 }));
    await bench.time.advance(100 * ttlMs);
    expect(held.map(({ lease }) => lease.lostAtMs)).toEqual(held.map(() => undefined));
    const mine = bench.sent.filter(({ lease }) => lease.number === 0).length;
    expect(mine).toBeGreaterThan(250);
    expect(mine).toBeLessThan(400);
  });

  it("gathers what is due at nearly the same time into one turn", async () => {
    const bench = createBench();
    for (let i = 0; i < 1_000; i++) bench.hold({ ttlMs: 30_000 });
    await bench.time.advance(12_000);
    expect(bench.sent.length).toBeGreaterThanOrEqual(1_000);
    // Spread over 1.5 s at random, which are 47 buckets.
    expect(perMs(bench.sent).length).toBeLessThan(60);
  });

  it("sends a bounded number in one turn, however many come due at once", async () => {
    const bench = createBench();
    const held = Array.from({ length: 1_000 }, () => bench.hold({ ttlMs: 1_000 }));
    await bench.time.advance(1_000);
    expect(Math.max(...perMs(bench.sent))).toBeLessThanOrEqual(EXTENSIONS_AT_ONCE);
    expect(new Set(bench.sent.map(({ lease }) => lease)).size).toBe(1_000);
    // All at the very same time, since nothing ran for a while.
    (bench.sent as Sent[]).length = 0;
    bench.process.stall(500);
    await bench.time.advance(505);
    expect(perMs(bench.sent)[0]).toBe(EXTENSIONS_AT_ONCE);
    await bench.time.advance(100);
    expect(new Set(bench.sent.map(({ lease }) => lease)).size).toBe(1_000);
    expect(held.filter(({ lease }) => lease.lostAtMs !== undefined)).toEqual([]);
  });

  it("sends more at once when its turns are long, so that it does not fall behind", async () => {
    const bench = createBench();
    for (let i = 0; i < 1_000; i++) bench.hold({ ttlMs: 1_000 });
    bench.process.stall(500);
    await bench.time.advance(500.5);
    expect(bench.sent.length).toBe(EXTENSIONS_AT_ONCE);
    bench.process.stall(6);
    await bench.time.advance(6);
    expect(bench.sent.length).toBeGreaterThanOrEqual(5 * EXTENSIONS_AT_ONCE);
  });

  it("leaves a bounded number unanswered, and goes on as answers come", async () => {
    const bench = createBench();
    const count = UNANSWERED.min + 500;
    for (let i = 0; i < count; i++) bench.hold({ ttlMs: 30_000 });
    bench.answers = { afterMs: 3_000, kind: "extended" };
    await bench.time.advance(11_000);
    expect(bench.sent.length).toBe(UNANSWERED.min);
    await bench.time.advance(3_000);
    expect(new Set(bench.sent.map(({ lease }) => lease)).size).toBe(count);
  });

  it("sends a whole portion again, and not one for each answer, while the bound is what it waits for", async () => {
    const bench = createBench();
    const count = UNANSWERED.min + 1_000;
    for (let i = 0; i < count; i++) bench.hold({ ttlMs: 60_000 });
    bench.process.stall(21_000);
    await bench.time.advance(21_000);
    // Each answer comes at another time, and too late to move the bound up.
    bench.answers = { afterMs: 600, perLeaseMs: 1, kind: "extended" };
    await bench.time.advance(6_000);
    const turns = perMs(bench.sent);
    expect(bench.sent.length).toBe(count);
    expect(turns.length).toBeLessThanOrEqual(2 + count / EXTENSIONS_AT_ONCE);
  });

  it("leaves fewer unanswered where answers are slow, and more where they are quick", async () => {
    const bench = createBench();
    const unanswered = (): number => {
      const now = bench.process.now();
      return bench.sent.filter(({ atMs }) => atMs + (bench.answers?.afterMs ?? 0) > now).length;
    };
    const most = async (answersAfterMs: number): Promise<number> => {
      bench.answers = { afterMs: answersAfterMs, kind: "extended" };
      let seen = 0;
      for (let round = 0; round < 4; round++) {
        seen = 0;
        // All come due at once.
        bench.process.stall(21_000);
        await bench.time.advance(21_000);
        for (let step = 0; step < 300; step++) {
          await bench.time.advance(20);
          seen = Math.max(seen, unanswered());
        }
      }
      return seen;
    };
    for (let i = 0; i < 3_000; i++) bench.hold({ ttlMs: 60_000 });
    expect(await most(300)).toBeGreaterThan(2_500);
    expect(await most(1_500)).toBeLessThanOrEqual(UNANSWERED.min + 100);
    expect(await most(300)).toBeGreaterThan(2_500);
    expect(bench.keeper.held().length).toBe(3_000);
  });

  it("leaves no more unanswered behind extensions that failed at once", async () => {
    const bench = createBench();
    const count = UNANSWERED.min + 1_500;
    for (let i = 0; i < count; i++) bench.hold({ ttlMs: 60_000 });
    bench.answers = { afterMs: 1, kind: "failed" };
    await bench.time.advance(25_000);
    expect(bench.sent.length).toBeGreaterThan(count - 500);
    bench.answers = undefined;
    const before = bench.sent.length;
    await bench.time.advance(20_000);
    expect(bench.sent.length - before).toBe(UNANSWERED.min);
  });

  it("ends leases in time whose extension waits for its turn", async () => {
    const bench = createBench();
    const held = Array.from({ length: UNANSWERED.min + 500 }, () => bench.hold({ ttlMs: 30_000 }));
    bench.answers = undefined;
    await bench.time.advance(31_000);
    for (const { lease } of held) {
      expect(lease.lostAtMs).toBeLessThan(lease.validUntil);
      expect(lease.lostAtMs).toBeGreaterThan(lease.validUntil - 50);
    }
  });

  it("sends nothing for a lease that was dropped, whether its extension was far off, due or failing", async () => {
    const bench = createBench();
    const held = Array.from({ length: 1_000 }, () => bench.hold({ ttlMs: 30_000 }));
    held.slice(0, 300).forEach(({ kept }) => bench.keeper.drop(kept));
    await bench.time.advance(9_000);
    bench.process.stall(2_000);
    await bench.time.advance(2_000.5);
    const early = bench.sent.length;
    expect(early).toBeGreaterThan(0);
    const sent = new Set(bench.sent.map(({ lease }) => lease.number));
    held.filter(({ lease }) => !sent.has(lease.number)).forEach(({ kept }) => bench.keeper.drop(kept));
    await bench.time.advance(4_000);
    expect(bench.sent.length).toBe(early);
    for (const { lease } of bench.sent) expect(lease.number).toBeGreaterThanOrEqual(300);
    bench.answers = { afterMs: 2, kind: "failed" };
    await bench.time.advance(5_000);
    expect(bench.sent.length).toBeGreaterThan(early);
    held.forEach(({ kept }) => bench.keeper.drop(kept));
    const late = bench.sent.length;
    await bench.time.advance(60_000);
    expect(bench.sent.length).toBe(late);
    expect(bench.timers()).toBe(0);
    expect(bench.keeper.held()).toEqual([]);
  });

  it("forgets a lease at once that is dropped, in flight or not, and comes to rest within a slice", async () => {
    const bench = createBench();
    bench.answers = { afterMs: 1_000, kind: "extended" };
    const held = Array.from({ length: 100 }, () => bench.hold({ ttlMs: 30_000 }));
    await bench.time.advance(9_500);
    const inFlight = bench.sent.length;
    expect(inFlight).toBeGreaterThan(10);
    expect(inFlight).toBeLessThan(90);
    for (const { kept } of held) bench.keeper.drop(kept);
    expect(bench.keeper.held()).toEqual([]);
    await bench.time.advance(1_000);
    expect(bench.keeper.held()).toEqual([]);
    expect(bench.timers()).toBe(0);
    expect(bench.sent.length).toBe(inFlight);
  });

  it("repeats what failed as the engine says", async () => {
    const bench = createBench();
    const wholeMs = validityMs(10_000, BOUNDS);
    bench.answers = { afterMs: 1, kind: "failed" };
    const { lease } = bench.hold({ ttlMs: 10_000 });
    await bench.time.advance(11_000);
    expect(lease.lostAtMs).toBeDefined();
    expect(bench.sent.length).toBeGreaterThan(5);
    for (const [i, { atMs }] of bench.sent.slice(1).entries()) {
      const failedAt = (bench.sent[i]?.atMs ?? 0) + 1;
      const remainingMs = elapsedMs(failedAt as Instant, lease.validUntil);
      const state = { remainingMs, validityMs: wholeMs, failures: 1 };
      const pauseMs = atMs - failedAt;
      const bucketMs = Math.max(1, pauseMs / 64);
      expect(pauseMs).toBeGreaterThanOrEqual(renewalDelayMs(state, 1) - bucketMs - 1);
      expect(pauseMs).toBeLessThanOrEqual(renewalDelayMs(state, 0) + 2);
    }
  });

  it("leaves no timer when it stops, whatever is due, in flight or waiting", async () => {
    const bench = createBench();
    for (let i = 0; i < 1_000; i++) bench.hold({ ttlMs: 1_000 });
    bench.process.stall(500);
    await bench.time.advance(500.5);
    expect(bench.timers()).toBe(2);
    for (const lease of bench.keeper.held()) lease.expire();
    bench.keeper.stop();
    expect(bench.timers()).toBe(0);
    const sent = bench.sent.length;
    await bench.time.advance(5_000);
    expect(bench.timers()).toBe(0);
    expect(bench.sent.length).toBe(sent);
  });

  it("ends a lease in time after the machine slept", async () => {
    const bench = createBench();
    const { lease } = bench.hold({ ttlMs: 30_000, kept: false });
    await bench.time.advance(1_000);
    bench.process.suspend(28_500);
    await bench.time.advance(28_500 + 260);
    expect(lease.lostAtMs).toBeUndefined();
    await bench.time.advance(300);
    expect(lease.lostAtMs).toBeLessThan(lease.validUntil);
  });
});
