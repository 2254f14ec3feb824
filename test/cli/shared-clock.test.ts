// Deadlines that two processes read alike, and when a command is ended for them.
import { expect, test } from "vitest";
import { endingTimes } from "../../src/cli/ending-times.ts";
import { endingInstants } from "../../src/cli/orders.ts";
import {
  before,
  earlier,
  instantIn,
  msUntil,
  SHARED_CLOCKS,
  type SharedClocks,
} from "../../src/cli/shared-clock.ts";

const GRAIN_MS = 10;

/** Clocks to be set; the boot clock shows whole grains only, as the real one does. */
function clocksAt(monotonic: number, boot: number): SharedClocks {
  return { monotonicMs: () => monotonic, bootMs: () => Math.floor(boot / GRAIN_MS) * GRAIN_MS };
}

test("is never late, and at most two grains early, wherever in a grain the clock is read", () => {
  for (let boot = 1000; boot < 1020; boot += 0.7) {
    const instant = instantIn(500, clocksAt(7, boot));
    for (let passed = 0; passed <= 600; passed += 3.3) {
      const left = msUntil(instant, clocksAt(7 + passed, boot + passed));
      expect(left).toBeLessThanOrEqual(500 - passed + 1e-6);
      expect(left).toBeGreaterThanOrEqual(500 - passed - 2 * GRAIN_MS);
    }
  }
});

test("notices that the machine was suspended, although the monotonic clock stood still", () => {
  const instant = instantIn(5_000, clocksAt(100, 90_000));
  expect(msUntil(instant, clocksAt(101, 90_001))).toBeGreaterThan(4_900);
  expect(msUntil(instant, clocksAt(101, 99_000))).toBeLessThanOrEqual(-4_000);
});

test("counts on by the monotonic clock where the boot clock cannot be trusted to", () => {
  const instant = instantIn(5_000, clocksAt(100, 90_000));
  expect(msUntil(instant, clocksAt(5_200, 90_001))).toBe(-100);
});

test("reads the same two clocks in every process of this machine", () => {
  const now = { monotonicMs: SHARED_CLOCKS.monotonicMs(), bootMs: SHARED_CLOCKS.bootMs() };
  expect(SHARED_CLOCKS.monotonicMs()).toBeGreaterThanOrEqual(now.monotonicMs);
  expect(Math.abs(msUntil(now))).toBeLessThan(1_000);
});

test("survives a trip through JSON to the last microsecond", () => {
  const instant = { monotonicMs: 4_463_563_644.243_112, bootMs: 4_463_563_640 };
  expect(JSON.parse(JSON.stringify(instant))).toEqual(instant);
});

test("orders instants on each clock", () => {
  const instant = instantIn(1_000, clocksAt(0, 0));
  expect(before(instant, 400)).toEqual(instantIn(600, clocksAt(0, 0)));
  expect(earlier({ monotonicMs: 1, bootMs: 20 }, { monotonicMs: 2, bootMs: 10 })).toEqual({
    monotonicMs: 1,
    bootMs: 10,
  });
});

test("asks the command to end a grace before it is killed, and kills it a margin before validity ends", () => {
  const end = instantIn(10_000, clocksAt(0, 0));
  const { terminateAt, killAt } = endingInstants(end, { graceMs: 2_000, marginMs: 500 });
  expect([terminateAt.monotonicMs, killAt.monotonicMs]).toEqual([7_500, 9_500]);
});

test("leaves room for the first extension whatever the TTL, and kills soon enough", () => {
  for (const ttlMs of [1_000, 1_500, 2_000, 5_000, 10_000, 30_000, 60_000, 3_600_000]) {
    const validityMs = ttlMs * 0.99 - 2;
    const { graceMs, marginMs } = endingTimes({ ttlMs, validityMs }, undefined);
    expect(graceMs).toBeGreaterThan(0);
    expect(graceMs).toBeLessThanOrEqual(10_000);
    expect(marginMs).toBeGreaterThanOrEqual(100);
    const extensionMs = Math.min(ttlMs / 5, 2_000);
    expect(validityMs / 3 + extensionMs + graceMs + marginMs).toBeLessThanOrEqual(validityMs);
  }
});
