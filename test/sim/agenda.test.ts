import { describe, expect, it } from "vitest";
import { createEventQueue } from "../../src/testing/event-queue.js";
import { seededRandom } from "../../src/testing/random.js";
import { createAgenda } from "./agenda.js";

const END_MS = 1_000;

describe("the agenda of a simulated world", () => {
  it("has happen what the queue of virtual time has happen, in its order", () => {
    const random = seededRandom(11);
    for (let round = 0; round < 200; round++) {
      const agenda = createAgenda();
      const queue = createEventQueue();
      const [ours, theirs]: [number[], number[]] = [[], []];
      for (let i = 0; i < 40; i++) {
        // Few different times, so that many are planned for the same one.
        const atMs = Math.floor(random() * 8);
        const one = agenda.plan(atMs, () => ours.push(i));
        const same = queue.plan(atMs, () => theirs.push(i));
        if (random() < 0.2) one.run = same.run = undefined;
        if (random() < 0.3) {
          agenda.takeUntil(END_MS)?.run?.();
          queue.takeNext()?.run?.();
        }
      }
      expect(ours.length).toBeGreaterThan(0);
      for (let next = agenda.takeUntil(END_MS); next !== undefined; next = agenda.takeUntil(END_MS))
        next.run?.();
      for (let next = queue.takeNext(); next !== undefined; next = queue.takeNext()) next.run?.();
      expect(ours).toEqual(theirs);
    }
  });

  it("leaves what is due later, and what was called off", () => {
    const agenda = createAgenda();
    const off = agenda.plan(1, () => undefined);
    const soon = agenda.plan(2, () => undefined);
    const late = agenda.plan(3, () => undefined);
    off.run = undefined;
    expect(agenda.takeUntil(2)).toBe(soon);
    expect(agenda.takeUntil(2)).toBeUndefined();
    expect(agenda.takeUntil(3)).toBe(late);
    expect(agenda.takeUntil(END_MS)).toBeUndefined();
  });
});
