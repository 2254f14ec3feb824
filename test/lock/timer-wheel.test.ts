import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createTimerWheel, type TimerWheel, type WheelEntry } from "../../src/lock/timer-wheel.js";

interface Numbered extends WheelEntry {
  readonly number: number;
}

/** What a wheel does, by sorting. */
class SortedList {
  /** What is overdue when it comes is due at the hand. */
  readonly dueAt = new Map<Numbered, number>();
  hand: number;

  constructor(hand: number) {
    this.hand = hand;
  }

  insert(it: Numbered, dueAt: number): void {
    this.dueAt.set(it, Math.max(dueAt, this.hand));
  }

  /** Those that are due until `tick`, by tick; the order of one tick is left open. */
  advance(tick: number): readonly Numbered[] {
    this.hand = tick;
    return [...this.dueAt].filter(([, at]) => at <= tick).map(([it]) => it);
  }

  first(): number | undefined {
    return this.dueAt.size === 0 ? undefined : Math.min(...this.dueAt.values());
  }
}

function entry(number: number): Numbered {
  return { number, dueAt: 0, before: undefined, behind: undefined };
}

/** From one tick to years, each order of magnitude as often as another; whole slots and turns among them. */
const SPAN = fc.oneof(
  fc.nat(3),
  fc.nat(200),
  fc.nat(10_000),
  fc.nat(1_000_000),
  fc.nat(64 ** 4),
  fc.nat(3 * 64 ** 5),
  fc.nat(5).map((power) => 64 ** power),
);
const STEP = fc.oneof(
  fc.record({ kind: fc.constant("insert" as const), which: fc.nat(19), inTicks: SPAN }),
  fc.record({ kind: fc.constant("overdue" as const), which: fc.nat(19), byTicks: SPAN }),
  fc.record({ kind: fc.constant("remove" as const), which: fc.nat(19) }),
  fc.record({ kind: fc.constant("advance" as const), ticks: SPAN }),
  fc.record({ kind: fc.constant("to the next" as const) }),
);

function compare(wheel: TimerWheel<Numbered>, list: SortedList): void {
  expect(wheel.size()).toBe(list.dueAt.size);
  expect(new Set(wheel.entries())).toEqual(new Set(list.dueAt.keys()));
  const first = list.first();
  const next = wheel.next();
  expect(next === undefined).toBe(first === undefined);
  if (next === undefined || first === undefined) return;
  expect(next).toBeGreaterThanOrEqual(list.hand);
  expect(next).toBeLessThanOrEqual(first);
}

describe("a timer wheel", () => {
  it("does what a sorted list does", () => {
    fc.assert(
      fc.property(SPAN, fc.array(STEP, { maxLength: 60 }), (start, steps) => {
        const wheel = createTimerWheel<Numbered>(start);
        const list = new SortedList(start);
        const entries = Array.from({ length: 20 }, (_, i) => entry(i));
        const insert = (which: number, dueAt: number): void => {
          wheel.insert(entries[which] as Numbered, dueAt);
          list.insert(entries[which] as Numbered, dueAt);
        };
        const advance = (tick: number): void => {
          const due = wheel.advance(tick);
          expect(new Set(due)).toEqual(new Set(list.advance(tick)));
          const ticks = due.map((it) => list.dueAt.get(it) as number);
          expect(ticks).toEqual([...ticks].sort((a, b) => a - b));
          for (const it of due) list.dueAt.delete(it);
        };
        for (const step of steps) {
          switch (step.kind) {
            case "insert":
              insert(step.which, list.hand + step.inTicks);
              break;
            case "overdue":
              insert(step.which, Math.max(0, list.hand - step.byTicks));
              break;
            case "remove":
              wheel.remove(entries[step.which] as Numbered);
              list.dueAt.delete(entries[step.which] as Numbered);
              break;
            case "advance":
              advance(list.hand + step.ticks);
              break;
            case "to the next":
              advance(wheel.next() ?? list.hand);
          }
          compare(wheel, list);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("arrives at what is due by going from next to next, within a few steps", () => {
    fc.assert(
      fc.property(SPAN, SPAN, (start, inTicks) => {
        const wheel = createTimerWheel<Numbered>(start);
        wheel.insert(entry(0), start + inTicks);
        for (let steps = 1; ; steps++) {
          const next = wheel.next() as number;
          // Each level once, and whole turns of 64^5 ticks.
          expect(steps).toBeLessThanOrEqual(6 + inTicks / 64 ** 5);
          if (wheel.advance(next).length > 0) {
            expect(next).toBe(start + inTicks);
            return;
          }
        }
      }),
    );
  });

  it("hands out those of one tick in the order in which they came", () => {
    const wheel = createTimerWheel<Numbered>(0);
    for (let i = 0; i < 5; i++) wheel.insert(entry(i), 300);
    expect(wheel.advance(299)).toEqual([]);
    expect(wheel.advance(300).map(({ number }) => number)).toEqual([0, 1, 2, 3, 4]);
  });

  it("keeps nothing of what was taken out", () => {
    const wheel = createTimerWheel<Numbered>(0);
    const [first, second, third] = [entry(1), entry(2), entry(3)];
    for (const each of [first, second, third]) wheel.insert(each, 10);
    wheel.remove(second);
    wheel.remove(second);
    expect(second).toMatchObject({ before: undefined, behind: undefined });
    expect(wheel.entries()).toEqual([first, third]);
    expect(wheel.advance(10)).toEqual([first, third]);
    expect(wheel.next()).toBeUndefined();
  });
});
