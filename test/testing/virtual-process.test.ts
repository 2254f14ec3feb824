import { describe, expect, it } from "vitest";
import type { System } from "../../src/engine/time.js";
import { createVirtualTime } from "../../src/testing/virtual-time.js";

const world = () => createVirtualTime({ seed: 5 });

/** When a timer of that delay fires, in true time. */
function firing(time: ReturnType<typeof world>, process: System, delayMs: number): number[] {
  const at: number[] = [];
  process.startTimer("work", delayMs, () => at.push(time.trueMs()));
  return at;
}

describe("the clocks of a process", () => {
  it("run at its rate, and two processes share no zero", async () => {
    const time = world();
    const [fast, slow] = [time.process({ ratePpm: 100_000 }), time.process({ ratePpm: -100_000 })];
    const [f0, s0] = [fast.now(), slow.now()];
    expect(f0).not.toBe(s0);
    await time.advance(1_000);
    expect(fast.now() - f0).toBeCloseTo(1_100, 6);
    expect(slow.look() - s0).toBeCloseTo(900, 6);
  });

  it("stand still while it is suspended, and show it at the next look", async () => {
    const time = world();
    const process = time.process();
    const from = process.now();
    await time.advance(100);
    process.suspend(5_000);
    await time.advance(6_000);
    expect(process.now() - from).toBeCloseTo(1_100, 6);
    expect(process.look() - from).toBeCloseTo(6_100, 6);
    expect(process.now() - from).toBeCloseTo(6_100, 6);
    process.suspend(1_000);
    await time.advance(1_500);
    expect(process.now() - from).toBeCloseTo(6_600, 6);
    expect(process.look() - from).toBeCloseTo(7_600, 6);
  });

  it("show no more of a suspend than has passed of it", async () => {
    const time = world();
    const process = time.process();
    const from = process.now();
    process.suspend(5_000);
    await time.advance(2_000);
    expect(process.now() - from).toBeCloseTo(0, 6);
    expect(process.look() - from).toBeCloseTo(2_000, 6);
    await time.advance(4_000);
    expect(process.look() - from).toBeCloseTo(6_000, 6);
  });

  it("do not count a suspend twice when two overlap", async () => {
    const time = world();
    const process = time.process();
    const from = process.now();
    process.suspend(1_000);
    await time.advance(500);
    process.suspend(1_000);
    await time.advance(1_500);
    expect(process.now() - from).toBeCloseTo(500, 6);
    expect(process.look() - from).toBeCloseTo(2_000, 6);
  });

  it("never let look be behind now, nor either go back", async () => {
    const time = world();
    const process = time.process({ ratePpm: 4_321 });
    let last = process.now();
    for (let i = 0; i < 500; i++) {
      await time.advance(time.random() * 20);
      if (time.random() < 0.2) process.suspend(time.random() * 50);
      if (time.random() < 0.2) process.stall(time.random() * 50);
      const now = process.now();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
      if (time.random() < 0.5) continue;
      const look = process.look();
      expect(look).toBeGreaterThanOrEqual(now - 1e-6);
      last = process.now();
    }
  });
});

describe("the timers of a process", () => {
  it("fire when its own clock has shown the delay", async () => {
    const time = world();
    const fast = firing(time, time.process({ ratePpm: 250_000 }), 100);
    const slow = firing(time, time.process({ ratePpm: -200_000 }), 100);
    await time.advance(1_000);
    expect(fast[0]).toBeCloseTo(80, 9);
    expect(slow[0]).toBeCloseTo(125, 9);
  });

  it("do not notice a suspend: they fire as much later as it lasted", async () => {
    const time = world();
    const process = time.process();
    const at = firing(time, process, 100);
    await time.advance(40);
    process.suspend(1_000);
    await time.advance(5_000);
    expect(at).toEqual([1_100]);
  });

  it("are late after a stall, and those of other processes are not", async () => {
    const time = world();
    const [stalled, other] = [time.process(), time.process()];
    const [early, late, theirs] = [
      firing(time, stalled, 10),
      firing(time, stalled, 500),
      firing(time, other, 10),
    ];
    const from = stalled.now();
    stalled.stall(300);
    await time.advance(100);
    expect(stalled.now() - from).toBeCloseTo(100, 6);
    await time.advance(900);
    expect([early, late, theirs]).toEqual([[300], [500], [10]]);
  });

  it("wait for the end of a stall that a suspend interrupts", async () => {
    const time = world();
    const process = time.process();
    const at = firing(time, process, 10);
    process.stall(100);
    process.suspend(1_000);
    await time.advance(5_000);
    expect(at).toEqual([1_100]);
  });

  it("are not started by a cancelled one, before or after a suspend moved it", async () => {
    const time = world();
    const process = time.process();
    const fired: string[] = [];
    const timers = ["a", "b"].map((name) => process.startTimer("work", 100, () => fired.push(name)));
    process.cancelTimer(timers[0] ?? 0);
    process.suspend(1_000);
    await time.advance(150);
    process.cancelTimer(timers[1] ?? 0);
    process.cancelTimer(timers[1] ?? 0);
    await time.advance(5_000);
    expect(fired).toEqual([]);
  });

  it("take a millisecond at least, so that empty ones do not stop the time", async () => {
    const time = world();
    const process = time.process();
    let count = 0;
    const again = (): void => {
      count++;
      process.startTimer("watch", Number.NaN, again);
    };
    again();
    await time.advance(10);
    expect(count).toBe(11);
  });

  it("never fire after a crash", async () => {
    const time = world();
    const process = time.process();
    const at = firing(time, process, 10);
    process.crash();
    let awake = false;
    void process.awake().then(() => (awake = true));
    await time.advance(100);
    expect([at, awake]).toEqual([[], false]);
  });
});

describe("what comes to a process from outside", () => {
  it("is there at once while it runs, and at the end of a suspend or stall otherwise", async () => {
    const time = world();
    const process = time.process();
    const at: number[] = [];
    const deliver = (): void => void process.awake().then(() => at.push(time.trueMs()));
    deliver();
    await time.advance(10);
    process.stall(50);
    deliver();
    await time.advance(20);
    process.suspend(100);
    deliver();
    await time.advance(1_000);
    expect(at).toEqual([0, 160, 160]);
  });
});

describe("proposals of a process", () => {
  it("are its wall clock in microseconds with a grain of a millisecond, and never go back", async () => {
    const time = world();
    const process = time.process({ wallOffsetMs: 3 });
    const first = process.propose();
    expect(first % 1_000n).toBe(0n);
    expect(first - time.process().propose()).toBe(3_000n);
    expect(process.propose()).toBe(first + 1n);
    await time.advance(10.7);
    expect(process.propose()).toBe(first + 10_000n);
    process.jumpWall(-60_000);
    expect(process.propose()).toBe(first + 10_001n);
    process.jumpWall(61_000);
    expect(process.propose()).toBe(first + 1_010_000n);
  });

  it("are refused when the wall clock is out of range", () => {
    const process = world().process({ wallOffsetMs: 9e12 });
    expect(() => process.propose()).toThrow("the wall clock is at");
  });
});
