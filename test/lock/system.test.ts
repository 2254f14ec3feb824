/** The clocks of this process: what a look costs, and that no suspend is overlooked for its sake. Linux's boot clock, played. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { System } from "../../src/index.js";

const clocks = { monotonicMs: 0, wallMs: 0, bootMs: 0, reads: 0 };

vi.mock("node:fs", () => ({
  openSync: () => 3,
  readSync: (_file: number, into: Buffer) => {
    clocks.reads++;
    return into.write(`${(clocks.bootMs / 1000).toFixed(2)} 0.00\n`);
  },
}));

/** Of the boot clock, as Linux shows it. */
const GRAIN_MS = 10;

/** Everything runs on. */
function pass(ms: number): void {
  clocks.monotonicMs += ms;
  clocks.wallMs += ms;
  clocks.bootMs += ms;
}

/** The machine sleeps. */
function suspend(ms: number): void {
  clocks.wallMs += ms;
  clocks.bootMs += ms;
}

describe.runIf(process.platform === "linux")("a look at the clocks", () => {
  let system: System;

  beforeEach(async () => {
    Object.assign(clocks, { monotonicMs: 5_000, wallMs: 1_795_000_000_000, bootMs: 9_000, reads: 0 });
    vi.stubGlobal("performance", { now: () => clocks.monotonicMs });
    vi.stubGlobal("Date", { now: () => clocks.wallMs });
    vi.resetModules();
    ({ processSystem: system } = await import("../../src/lock/system.js"));
    vi.unstubAllGlobals();
    system.look();
  });

  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it("reads the boot clock once in ten milliseconds while the wall clock goes as far as the monotonic one", () => {
    const from = clocks.reads;
    for (let i = 0; i < 40; i++) {
      pass(0.25);
      expect(system.look()).toBe(clocks.monotonicMs);
    }
    expect(clocks.reads - from).toBe(0);
    pass(0.25);
    system.look();
    expect(clocks.reads - from).toBe(1);
  });

  it("sees a suspend at once, however short ago the last look was", () => {
    const before = system.look();
    suspend(30);
    expect(system.look() - before).toBe(30);
    suspend(3_600_000);
    pass(0.1);
    expect(Math.abs(system.look() - before - 3_600_030.1)).toBeLessThanOrEqual(GRAIN_MS);
  });

  it("sees one whose time somebody took off the wall clock within ten milliseconds", () => {
    const before = system.look();
    suspend(500);
    clocks.wallMs -= 500;
    pass(10.5);
    expect(Math.abs(system.look() - before - 510.5)).toBeLessThanOrEqual(GRAIN_MS);
  });

  it("takes a wall clock that was set for no suspend", () => {
    const before = system.look();
    clocks.wallMs += 10_000;
    pass(1);
    expect(system.look() - before).toBe(1);
  });
});
