/** What is asked for in one turn goes together, in bounded numbers, over ways that are few. */
import { describe, expect, test } from "vitest";
import { createTurns, type Asked } from "../../src/adapters/shared/turns.js";

interface Op {
  readonly kind: string;
  readonly key?: string;
}

/** Runs write down what they got; `ways` at once. */
function stage({ ways = 1, max = 3, refuse = (): boolean => false } = {}) {
  const runs: string[][] = [];
  const open: (() => void)[] = [];
  let free = ways;
  let waiting: (() => void)[] = [];
  const turns = createTurns<Op, number>({
    max,
    fits: (first, other) => first.kind === other.kind,
    once: ({ key }) => key,
    async use(work) {
      if (refuse()) throw new Error("no way");
      if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
      else free--;
      try {
        await work(0);
      } finally {
        const [next, ...others] = waiting;
        waiting = others;
        if (next === undefined) free++;
        else next();
      }
    },
    async run(_way, asked: readonly Asked<Op>[]) {
      runs.push(asked.map(({ op }) => `${op.kind}${op.key ?? ""}`));
      await new Promise<void>((resolve) => open.push(resolve));
      for (const { op, resolve, reject } of asked) {
        if (op.kind === "throws") throw new Error("all of it");
        if (op.kind === "bad") reject(new Error("its own"));
        else resolve(op.key);
      }
    },
  });
  const settle = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    for (const done of open.splice(0)) done();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { turns, runs, settle };
}

const ask = (count: number, kind = "a"): Op[] =>
  Array.from({ length: count }, (_, i) => ({ kind, key: `${i}` }));

describe("operations of one turn", () => {
  test("go together when the turn ends, before anything else happens, and one that is alone too", async () => {
    const { turns, runs, settle } = stage();
    const both = ask(2).map((op) => turns.add(op));
    expect(runs).toEqual([]);
    await new Promise<void>((resolve) => process.nextTick(resolve));
    await Promise.resolve();
    expect(runs).toEqual([["a0", "a1"]]);
    await settle();
    expect(await Promise.all(both)).toEqual(["0", "1"]);
    const alone = turns.add({ kind: "a", key: "x" });
    await settle();
    expect(await alone).toBe("x");
    expect(runs.at(-1)).toEqual(["ax"]);
  });

  test("go in bounded numbers, at once where there are ways", async () => {
    const { turns, runs, settle } = stage({ ways: 4 });
    const all = Promise.all(ask(8).map((op) => turns.add(op)));
    await settle();
    expect(runs).toEqual([
      ["a0", "a1", "a2"],
      ["a3", "a4", "a5"],
      ["a6", "a7"],
    ]);
    expect(await all).toHaveLength(8);
  });

  test("what comes while all ways are busy goes with the next, together", async () => {
    const { turns, runs, settle } = stage();
    const first = turns.add({ kind: "a", key: "first" });
    await new Promise((resolve) => setImmediate(resolve));
    const second = turns.add({ kind: "a", key: "second" });
    await new Promise((resolve) => setImmediate(resolve));
    const third = turns.add({ kind: "a", key: "third" });
    await settle();
    await first;
    expect(runs).toEqual([["afirst"], ["asecond", "athird"]]);
    await settle();
    expect(await Promise.all([second, third])).toEqual(["second", "third"]);
  });

  test("one of each key, the others behind it in their order; and one kind only", async () => {
    const { turns, runs, settle } = stage({ ways: 9, max: 9 });
    const keys: Op[] = [
      { kind: "a", key: "1" },
      { kind: "b", key: "1" },
      { kind: "a", key: "1" },
      { kind: "a", key: "2" },
      { kind: "b", key: "3" },
    ];
    const all = Promise.all(keys.map((op) => turns.add(op)));
    await settle();
    expect(runs).toEqual([["a1", "a2"], ["b1", "b3"], ["a1"]]);
    await all;
  });

  test("go alone where nothing fits, not even one with itself", async () => {
    const alone: number[] = [];
    const turns = createTurns<Op, undefined>({
      max: 9,
      use: (work) => work(undefined),
      fits: () => false,
      once: () => undefined,
      async run(_way, asked) {
        alone.push(asked.length);
        for (const { op, resolve } of asked) resolve(op.key);
      },
    });
    expect(await Promise.all(ask(3).map((op) => turns.add(op)))).toEqual(["0", "1", "2"]);
    expect(alone).toEqual([1, 1, 1]);
  });

  test("fail each for itself; all of a run that throws; and all who wait where there is no way", async () => {
    let refused = false;
    const { turns, runs, settle } = stage({ refuse: () => refused });
    const outcomes = Promise.allSettled(["a", "bad"].map((key) => turns.add({ kind: key, key })));
    await settle();
    await settle();
    expect((await outcomes).map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    const thrown = Promise.allSettled(ask(3, "throws").map((op) => turns.add(op)));
    await settle();
    for (const outcome of await thrown) expect(outcome).toMatchObject({ reason: { message: "all of it" } });
    refused = true;
    for (const outcome of await Promise.allSettled(ask(7).map((op) => turns.add(op)))) {
      expect(outcome).toMatchObject({ reason: { message: "no way" } });
    }
    refused = false;
    const again = turns.add({ kind: "a", key: "again" });
    await settle();
    expect(await again).toBe("again");
    expect(runs.at(-1)).toEqual(["aagain"]);
  });
});
