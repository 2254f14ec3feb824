import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEventQueue } from "../../src/testing/event-queue.js";
import { randomHex, seededRandom } from "../../src/testing/random.js";
import { createVirtualTime, type VirtualTime } from "../../src/testing/virtual-time.js";

const world = (seed = 1): VirtualTime => createVirtualTime({ seed });

/** Resolves after so many turns of the microtask queue, without touching any clock. */
async function turns(n: number): Promise<void> {
  for (let i = 0; i < n; i++) await Promise.resolve();
}

describe("advance", () => {
  it("runs what is due in the order of time, and of two at once the one planned first", async () => {
    const time = world();
    const log: string[] = [];
    for (const [name, ms] of [
      ["c", 30],
      ["a", 10],
      ["b1", 20],
      ["b2", 20],
    ] as const) {
      void time.sleep(ms).then(() => log.push(`${name}@${time.trueMs()}`));
    }
    await time.advance(20);
    expect(log).toEqual(["a@10", "b1@20", "b2@20"]);
    expect(time.trueMs()).toBe(20);
    await time.advance(9.5);
    expect(log.length).toBe(3);
    await time.advance(0.5);
    expect(log.at(-1)).toBe("c@30");
  });

  it("lets promises settle fully between two events at the same instant", async () => {
    const time = world();
    const log: string[] = [];
    void time.sleep(5).then(async () => {
      await turns(80);
      log.push("first");
    });
    void time.sleep(5).then(() => log.push("second"));
    await time.advance(5);
    expect(log).toEqual(["first", "second"]);
  });

  it("follows chains of any length as long as they look at a clock now and then", async () => {
    const time = world();
    const process = time.process();
    let done = false;
    void (async () => {
      for (let i = 0; i < 100; i++) {
        await turns(90);
        process.now();
      }
      done = true;
    })();
    await time.advance(0);
    expect(done).toBe(true);
  });

  it("can drain by a macrotask instead, which follows any chain", async () => {
    const time = createVirtualTime({ seed: 1, drain: () => new Promise((done) => setImmediate(done)) });
    let done = false;
    void turns(50_000).then(() => (done = true));
    await time.advance(0);
    expect(done).toBe(true);
  });

  it("runs what events plan for the time that is still to pass", async () => {
    const time = world();
    const at: number[] = [];
    const again = async (): Promise<void> => {
      await time.sleep(10);
      at.push(time.trueMs());
      await again();
    };
    void again();
    await time.advance(35);
    expect(at).toEqual([10, 20, 30]);
  });

  it("refuses to run twice at once, to go back, and to go on for ever", async () => {
    const time = world();
    const running = time.advance(10);
    await expect(time.advance(10)).rejects.toThrow("advancing already");
    await running;
    await expect(time.advance(-1)).rejects.toThrow("a number of milliseconds");
    await expect(time.advance(Number.NaN)).rejects.toThrow("a number of milliseconds");
    await expect(time.advance(Number.POSITIVE_INFINITY)).rejects.toThrow("a number of milliseconds");
    expect(time.trueMs()).toBe(10);
  });

  it("passes on what a timer throws, as an uncaught error would end a process", async () => {
    const time = world();
    time.process().startTimer("work", 5, () => {
      throw new RangeError("from the timer");
    });
    await expect(time.advance(10)).rejects.toThrow("from the timer");
    await time.advance(10);
  });
});

describe("until", () => {
  it("advances just as far as the promise needs", async () => {
    const time = world();
    expect(
      await time.until(
        time.sleep(40).then(() => "done"),
        { limitMs: 100 },
      ),
    ).toBe("done");
    expect(time.trueMs()).toBe(40);
  });

  it("rejects as the promise did", async () => {
    const time = world();
    const failing = time.sleep(1).then(() => Promise.reject(new RangeError("no")));
    await expect(time.until(failing, { limitMs: 100 })).rejects.toThrow(RangeError);
  });

  it("says so when the limit has passed, and stands at the limit", async () => {
    const time = world();
    await expect(time.until(time.sleep(101), { limitMs: 100 })).rejects.toThrow(
      "within 100 ms of virtual time",
    );
    expect(time.trueMs()).toBe(100);
    await time.until(time.sleep(100), { limitMs: 100 });
    expect(time.trueMs()).toBe(200);
  });

  it("says so when nothing is left to happen", async () => {
    const time = world();
    const never = new Promise<never>(() => undefined);
    await expect(time.until(never, { limitMs: 100 })).rejects.toThrow("nothing is left to happen");
    expect(time.trueMs()).toBe(0);
  });

  it("waits for a chain that is longer than the drain when nothing else is left", async () => {
    const time = world();
    const long = turns(5_000).then(() => time.sleep(7));
    await time.until(long, { limitMs: 100 });
    expect(time.trueMs()).toBe(7);
  });
});

describe("a seed", () => {
  /** Several processes that draw, wait and propose in one another's way. */
  async function story(seed: number): Promise<string> {
    const time = world(seed);
    const log: unknown[] = [];
    for (const ratePpm of [0, 300, -5_000]) {
      const process = time.process({ ratePpm, wallOffsetMs: ratePpm });
      const live = async (): Promise<void> => {
        for (let i = 0; i < 20; i++) {
          await new Promise<void>((done) => process.startTimer("work", process.random() * 50, done));
          log.push(
            process.now(),
            process.look(),
            String(process.propose()),
            process.newOwner(),
            time.random(),
          );
          if (process.random() < 0.2) process.suspend(process.random() * 100);
        }
      };
      void live();
    }
    await time.advance(2_000);
    return JSON.stringify(log);
  }

  it("gives the same run, byte for byte", async () => {
    expect(await story(42)).toBe(await story(42));
  });

  it("gives another run when it is another", async () => {
    expect(await story(42)).not.toBe(await story(43));
  });

  it("gives processes owners of their own: 32 hexadecimal digits", () => {
    const time = world();
    const owners = [time.process(), time.process(), time.process()].flatMap((each) => [
      each.newOwner(),
      each.newOwner(),
    ]);
    expect(new Set(owners).size).toBe(6);
    for (const owner of owners) expect(owner).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe("backend clocks", () => {
  it("run at their rate, and their wall time is off by the offset and every jump", async () => {
    const time = world();
    const clock = time.backendClock({ ratePpm: 10_000, wallOffsetMs: -250 });
    const [from, wall] = [clock.nowMs(), clock.wallMicros()];
    const right = time.backendClock().wallMicros();
    expect(right - wall).toBe(250_000n);
    await time.advance(1_000);
    expect(clock.nowMs() - from).toBeCloseTo(1_010, 6);
    expect(clock.wallMicros() - wall).toBe(1_000_000n);
    clock.jumpWall(-5_000);
    expect(clock.wallMicros() - wall).toBe(-4_000_000n);
    expect(clock.nowMs() - from).toBeCloseTo(1_010, 6);
  });

  it("must run forward", () => {
    expect(() => world().backendClock({ ratePpm: -1_000_000 })).toThrow("ratePpm");
  });
});

describe("the event queue", () => {
  it("takes out what a sorted list would, also when some are called off", () => {
    const plan = fc.record({ at: fc.integer({ min: 0, max: 20 }), off: fc.boolean() });
    fc.assert(
      fc.property(fc.array(plan, { maxLength: 60 }), (plans) => {
        const queue = createEventQueue();
        const out: number[] = [];
        const planned = plans.map(({ at }, i) => queue.plan(at, () => out.push(i)));
        plans.forEach(({ off }, i) => {
          const happening = planned[i];
          if (off && happening !== undefined) happening.run = undefined;
        });
        const sorted = plans
          .map(({ at, off }, i) => ({ at, off, i }))
          .filter(({ off }) => !off)
          .sort((a, b) => a.at - b.at || a.i - b.i);
        for (const { at } of sorted) {
          expect(queue.nextAtMs()).toBe(at);
          queue.takeNext()?.run?.();
        }
        expect(queue.takeNext()).toBeUndefined();
        expect(out).toEqual(sorted.map(({ i }) => i));
      }),
    );
  });
});

describe("seeded randomness", () => {
  it("is uniform enough: every tenth of [0, 1) gets its share, for any seed", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = seededRandom(seed);
        const tenths = new Array<number>(10).fill(0);
        for (let i = 0; i < 10_000; i++) {
          const tenth = Math.floor(random() * 10);
          tenths[tenth] = (tenths[tenth] ?? 0) + 1;
        }
        // Outside [0, 1) there would be an eleventh.
        expect(Object.keys(tenths)).toHaveLength(10);
        for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(200);
      }),
      { numRuns: 20 },
    );
  });

  it("does not depend on what was drawn from another", () => {
    const [a, b] = [seededRandom(1), seededRandom(1)];
    expect(randomHex(a)).toBe(randomHex(b));
    expect(randomHex(a)).not.toBe(randomHex(seededRandom(2)));
  });
});
