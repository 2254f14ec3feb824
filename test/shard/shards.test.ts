/** Placing keys on shards: the same for ever and everywhere, in proportion to the weights, and with no key moved in vain. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createShards, InvalidKeyError, InvalidOptionError, type Shard } from "../../src/index.js";
import { hashMixed, mixText } from "../../src/shard/murmur.js";
import { naiveMurmur, naiveShard } from "./naive-shards.js";
import vectors from "./vectors.json" with { type: "json" };

const MILLION = 1_000_000;
const named = (n: number): readonly Shard[] => Array.from({ length: n }, (_, i) => ({ name: `shard-${i}` }));

/** The shard of each of a million keys, and how many each shard has. */
function placeAll(list: readonly Shard[]): {
  readonly of: readonly string[];
  readonly counts: ReadonlyMap<string, number>;
} {
  const shards = createShards(list);
  const of = Array.from({ length: MILLION }, (_, i) => shards.shardFor(`account:${i}`).name);
  const counts = new Map<string, number>();
  for (const name of of) counts.set(name, (counts.get(name) ?? 0) + 1);
  return { of, counts };
}

/** How far a count is from what it should be, in standard deviations of a fair draw. */
function deviations(count: number, share: number, of = MILLION): number {
  return Math.abs(count - of * share) / Math.sqrt(of * share * (1 - share));
}

/** A fair draw is further off once in some millions. */
const DEVIATIONS_MAX = 5;

const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 });
const list = fc.uniqueArray(
  fc.record({ name: text, weight: fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }) }),
  { minLength: 1, maxLength: 12, selector: ({ name }) => name },
);
const clean = (shards: readonly { readonly name: string; readonly weight?: number | undefined }[]) =>
  shards.map(({ name, weight }) => (weight === undefined ? { name } : { name, weight }));

describe("the hash", () => {
  // As published for MurmurHash3_x86_32.
  it.each([
    ["", 0, 0],
    ["", 1, 0x514e28b7],
    ["", 0xffffffff, 0x81f16f39],
    ["test", 0, 0xba6bd213],
    ["test", 0x9747b28c, 0x704b81dc],
    ["Hello, world!", 0, 0xc0363e43],
    ["Hello, world!", 0x9747b28c, 0x24884cba],
    ["The quick brown fox jumps over the lazy dog", 0, 0x2e4ff723],
    ["The quick brown fox jumps over the lazy dog", 0x9747b28c, 0x2fa826cd],
  ])("of %j under seed %i is the published one", (words, seed, hash) => {
    expect(hashMixed(mixText(words), seed)).toBe(hash);
  });

  it("is that of its naive twin for every text and seed", () => {
    fc.assert(
      fc.property(text, fc.integer({ min: 0, max: 0xffffffff }), (words, seed) => {
        expect(hashMixed(mixText(words), seed)).toBe(naiveMurmur(words, seed));
      }),
    );
  });

  it("gives different seeds different hashes of one text, so that no two scores are equal", () => {
    const mixed = mixText("invoice:42");
    const hashes = new Set(Array.from({ length: MILLION }, (_, seed) => hashMixed(mixed, seed)));
    expect(hashes.size).toBe(MILLION);
  });
});

describe("the shard of a key", () => {
  it.each(vectors)("is the one that is written down: $fingerprint", ({ shards, fingerprint, keys }) => {
    const placed = createShards(shards);
    expect(placed.fingerprint).toBe(fingerprint);
    const got = Object.fromEntries(Object.keys(keys).map((key) => [key, placed.shardFor(key).name]));
    expect(got).toEqual(keys);
  });

  it("is that of the naive twin", () => {
    fc.assert(
      fc.property(list, text, (shards, key) => {
        expect(createShards(clean(shards)).shardFor(key).name).toBe(naiveShard(key, shards));
      }),
    );
  });

  it("does not depend on the order of the list, nor does the fingerprint", () => {
    fc.assert(
      fc.property(list, text, (shards, key) => {
        const there = createShards(clean(shards));
        const back = createShards(clean(shards).toReversed());
        expect(back.shardFor(key).name).toBe(there.shardFor(key).name);
        expect(back.fingerprint).toBe(there.fingerprint);
        expect(back.all.map(({ name }) => name)).toEqual(there.all.map(({ name }) => name));
      }),
    );
  });

  it("is the caller's own object, with whatever else is in it", () => {
    const only = { name: "a", locker: { any: "thing" } };
    expect(createShards([only]).shardFor("key")).toBe(only);
  });

  it("is another one only if the key goes to the shard that came, or away from the one that left", () => {
    fc.assert(
      fc.property(list, fc.array(text, { minLength: 1, maxLength: 30 }), (shards, keys) => {
        fc.pre(shards.length > 1);
        const [changed, ...others] = clean(shards);
        const more = createShards(clean(shards));
        const fewer = createShards(others);
        for (const key of keys) {
          const [with_, without] = [more.shardFor(key).name, fewer.shardFor(key).name];
          if (with_ !== without) expect(with_).toBe(changed?.name);
        }
      }),
    );
  });

  it("refuses what is no key", () => {
    const shards = createShards(named(2));
    for (const key of ["", "\ud800", "x".repeat(513)]) {
      expect(() => shards.shardFor(key)).toThrow(InvalidKeyError);
    }
  });
});

describe("a million keys", () => {
  const before = placeAll(named(16));

  it("are spread over 16 shards as by a fair draw", () => {
    expect(before.counts.size).toBe(16);
    for (const count of before.counts.values())
      expect(deviations(count, 1 / 16)).toBeLessThan(DEVIATIONS_MAX);
    const most = Math.max(...before.counts.values());
    expect(most / (MILLION / 16)).toBeLessThan(1.02);
  });

  it("move to a shard that is added, one in seventeen, and nowhere else", () => {
    const after = placeAll(named(17));
    const moved = after.of.filter((name, i) => name !== before.of[i]);
    expect(deviations(moved.length, 1 / 17)).toBeLessThan(DEVIATIONS_MAX);
    expect(new Set(moved)).toEqual(new Set(["shard-16"]));
  });

  it("move away from a shard that is removed, evenly to all others, and no other key moves", () => {
    const after = placeAll(named(16).filter(({ name }) => name !== "shard-3"));
    const moved = after.of.filter((name, i) => name !== before.of[i]);
    const left = before.of.filter((name, i) => name !== after.of[i]);
    expect(new Set(left)).toEqual(new Set(["shard-3"]));
    expect(moved.length).toBe(before.counts.get("shard-3"));
    for (const { name } of named(16).filter(({ name }) => name !== "shard-3")) {
      const got = moved.filter((each) => each === name).length;
      expect(deviations(got, 1 / 15, moved.length)).toBeLessThan(DEVIATIONS_MAX);
    }
  });

  it("follow the weights, and move only to a shard that becomes heavier", () => {
    const weights = [1, 2, 3, 10];
    const shards = named(4).map(({ name }, i) => ({ name, weight: weights[i] ?? 1 }));
    const weighted = placeAll(shards);
    for (const { name, weight } of shards) {
      expect(deviations(weighted.counts.get(name) ?? 0, weight / 16)).toBeLessThan(DEVIATIONS_MAX);
    }
    const heavier = placeAll(shards.map((each) => (each.name === "shard-0" ? { ...each, weight: 2 } : each)));
    const moved = heavier.of.filter((name, i) => name !== weighted.of[i]);
    expect(new Set(moved)).toEqual(new Set(["shard-0"]));
    // One in seventeen of the keys that it did not have already.
    expect(deviations(moved.length, (1 / 17) * (15 / 16))).toBeLessThan(DEVIATIONS_MAX);
  });

  it("take well below 20 microseconds each", () => {
    const shards = createShards(named(16));
    const startedAt = performance.now();
    for (let i = 0; i < MILLION / 10; i++) shards.shardFor(`account:${i}`);
    expect(((performance.now() - startedAt) * 1000) / (MILLION / 10)).toBeLessThan(20);
  });
});

describe("a list of shards", () => {
  it.each([
    ["nothing", undefined, "shards"],
    ["an empty list", [], "shards"],
    ["a name alone", ["a"], "shards[0]"],
    ["null", [null], "shards[0]"],
    ["no name", [{ name: "a" }, {}], "shards[1].name"],
    ["an empty name", [{ name: "" }], "shards[0].name"],
    ["a lone surrogate", [{ name: "\udc00" }], "shards[0].name"],
    ["a name that is too long", [{ name: "x".repeat(513) }], "shards[0].name"],
    ["the same name twice", [{ name: "a" }, { name: "b" }, { name: "a" }], "shards[2].name"],
    ["a weight of 0", [{ name: "a", weight: 0 }], "shards[0].weight"],
    ["half a weight", [{ name: "a", weight: 1.5 }], "shards[0].weight"],
    ["a weight as text", [{ name: "a", weight: "2" }], "shards[0].weight"],
    ["null as a weight", [{ name: "a", weight: null }], "shards[0].weight"],
    ["too large a weight", [{ name: "a", weight: 1_001 }], "shards[0].weight"],
    [
      "too large a sum of weights",
      [
        { name: "a", weight: 1_000 },
        { name: "b", weight: 1 },
      ],
      "shards",
    ],
  ])("is refused with %s", (_what, shards, option) => {
    let error: unknown;
    try {
      createShards(shards as unknown as readonly Shard[]);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(InvalidOptionError);
    expect(error).toMatchObject({ code: "INVALID_OPTION", option });
  });

  it("is refused when two names have one hash, so that one of them would get no keys", () => {
    const seen = new Map<number, string>();
    for (let i = 0; ; i++) {
      const name = `shard-${i}`;
      const hash = hashMixed(mixText(name), 0);
      const other = seen.get(hash);
      if (other !== undefined) {
        expect(() => createShards([{ name: other }, { name }])).toThrow(`its hash is that of "${other}"`);
        return;
      }
      seen.set(hash, name);
    }
  });

  it("may hold as many weights as are allowed", () => {
    expect(createShards(named(1_000)).shardFor("key").name).toMatch(/^shard-\d+$/);
  });

  it("shows in the fingerprint, whatever differs: a name, a weight, one more or less", () => {
    const lists: readonly (readonly Shard[])[] = [
      named(3),
      named(4),
      named(2),
      [{ name: "shard-0" }, { name: "shard-1" }, { name: "shard-3" }],
      [{ name: "shard-0", weight: 2 }, { name: "shard-1" }, { name: "shard-2" }],
      named(3).map(({ name }) => ({ name, weight: 2 })),
    ];
    const prints = lists.map((each) => createShards(each).fingerprint);
    expect(new Set(prints).size).toBe(lists.length);
    for (const print of prints) expect(print).toMatch(/^[0-9a-f]{8}$/);
  });
});
