/** Conformance: any well-formed string of up to 512 bytes is a key of its own. */
import { checkSame } from "./check.js";
import type { ConformanceCase } from "./case.js";
import { ALICE, BOB, ownerOf, stageOn } from "./stage.js";

const KEY_BYTES_MAX = 512;

/**
 * What stores are known to trim, fold, split, escape or match; keys that a store may take for one another stand side
 * by side. Each is appended to one fresh prefix.
 */
const TAILS: readonly string[] = [
  ..."a A ä a\u0308 ß ss ı i İ a+b a%20b a_b a/b a//b a/../b a.b a:b a::b a|b a;b a,b a\\b a&b=c".split(" "),
  ..."* ? [a] a* {} {a}b {a}c {a a} % %s $1 ${a} # ~ ^ ! @".split(" "),
  ...`' " \` '' \\' '-- ';x "} </a> 日本 🔒 👩‍💻 \u200b \u2060 \u{10ffff}`.split(" "),
  ...":l :f :lock :fence :mark :l:f null undefined 0 00 1e3 1000 true".split(" "),
  ..."\0|\0\0| |  |\t|\n|\r\n|\ufeff|\u2028|a b|".split("|"),
];

/** Keys. */
export const keyCases: readonly ConformanceCase[] = [
  {
    name: "keys with odd characters do not collide",
    needs: ["alone"],
    async run(context) {
      const { session, longMs: ttlMs } = await stageOn(context);
      const prefix = context.freshKey();
      const keys = [
        ...TAILS.map((tail) => prefix + tail),
        // The same text from the other side, since some stores fold or trim only there.
        ...TAILS.filter((tail) => tail !== "").map((tail) => `${tail}-${prefix}`),
        ...longKeys(prefix),
      ];
      const granted: string[] = [];
      for (const [i, key] of keys.entries()) {
        const reply = await session.acquire({ key, owner: ownerOf(i), ttlMs, proposal: context.proposal() });
        granted.push(reply.kind === "granted" ? key : `${reply.kind}: ${key}`);
      }
      checkSame("the list of keys that were granted", { is: granted, should: keys });
      const owners = await Promise.all(keys.map(async (key) => (await session.inspect(key)).lock?.owner));
      checkSame("the list of owners", { is: owners, should: keys.map((_, i) => ownerOf(i)) });
      for (const [i, key] of keys.entries()) {
        if (i % 2 === 0)
          checkSame(`the release of ${key}`, {
            is: await session.release(key, ownerOf(i)),
            should: "released",
          });
      }
      const left = await Promise.all(keys.map(async (key) => (await session.inspect(key)).lock?.owner));
      checkSame("the list of owners after every second release", {
        is: left,
        should: keys.map((_, i) => (i % 2 === 0 ? undefined : ownerOf(i))),
      });
    },
  },
  {
    name: "every operation works on a key of 512 bytes, in ASCII and in longer characters",
    async run(context) {
      for (const filler of ["x", "é", "\n", "🔒"]) {
        const stage = await stageOn(context);
        const key = fill(stage.key, filler);
        const { session, longMs: ttlMs } = stage;
        const reply = await session.acquire({ key, owner: ALICE, ttlMs, proposal: context.proposal() });
        const fence = reply.kind === "granted" ? reply.fence : 0n;
        const raised = await session.raise({ key, owner: ALICE, fence, token: fence + 1n });
        checkSame("the reply to raise", { is: raised, should: "raised" });
        const extended = await session.extend({ key, owner: ALICE, ttlMs, token: fence, mayHeal: false });
        checkSame("the reply to extend", { is: extended.kind, should: "extended" });
        checkSame("the owner", { is: (await session.inspect(key)).lock?.owner, should: ALICE });
        checkSame("the reply to another's release", {
          is: await session.release(key, BOB),
          should: "not-owner",
        });
        checkSame("the reply to release", { is: await session.release(key, ALICE), should: "released" });
        checkSame("the record", {
          is: await session.inspect(key),
          should: { lock: undefined, counter: fence + 1n },
        });
      }
    },
  },
];

/** Keys of 512 bytes that differ in the last character only, or where a store may cut them. */
function longKeys(prefix: string): readonly string[] {
  const long = fill(prefix, "x");
  return [
    long,
    `${long.slice(0, -1)}y`,
    `${long.slice(0, -1)} `,
    long.slice(0, -1),
    ...[250, 255, 256].flatMap((at) => [long.slice(0, at), `${long.slice(0, at)}y`]),
    fill(prefix, "🔒"),
  ];
}

function fill(prefix: string, filler: string): string {
  const size = new TextEncoder().encode(filler).length;
  const left = KEY_BYTES_MAX - prefix.length;
  return prefix + filler.repeat(Math.floor(left / size)) + "z".repeat(left % size);
}
