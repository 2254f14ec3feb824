/**
 * The production locker in thousands of simulated worlds. A failing world prints its seed; run it again with
 * `QUORUM_LOCK_SEED=… npx vitest run --project pure test/property/locker/locker.test.ts`; `QUORUM_LOCK_WORLDS=…` runs
 * more of them.
 */
import { describe, expect, it } from "vitest";
import { violationsOf } from "./checkers/all.js";
import { runWorld, type Profile } from "./world.js";

const PROFILES: Readonly<Record<string, Profile>> = {
  "strict, with any losses at any time": { guard: "strict" },
  "auto, with losses within its assumption": { guard: "auto" },
  "no memory lost and wall clocks that jump": { losses: false, madClocks: true },
  "long delays": { tailMs: 500, losses: false },
  "locks that end at any moment": { losses: false, madClocks: true, madExpiry: true },
  "new deployments that lose memories from the start": {
    guard: "auto",
    fromTheStart: true,
    durationMs: 700,
    paceMs: 25,
    tailMs: 300,
    troubles: ["forget", "forget", "forget", "delay", "delay", "delay", "replace", "replace", "lossy"],
  },
};

/** Worlds of each profile. */
const WORLDS = Number(process.env["QUORUM_LOCK_WORLDS"] ?? 250);
const FROM = 1;
const ONLY = process.env["QUORUM_LOCK_SEED"];

describe("the locker keeps its promises", () => {
  it.each(Object.entries(PROFILES))(
    "in worlds that are %s",
    async (title, profile) => {
      const from = ONLY === undefined ? FROM : Number(ONLY);
      const to = ONLY === undefined ? FROM + WORLDS : from + 1;
      let acquired = 0;
      for (let seed = from; seed < to; seed++) {
        const history = await runWorld(seed, profile);
        acquired += history.records.filter(({ kind }) => kind === "acquired").length;
        const [violation] = violationsOf(history);
        if (violation === undefined) continue;
        const replay = `QUORUM_LOCK_SEED=${seed} npx vitest run --project pure test/property/locker/locker.test.ts -t "${title}"`;
        expect.fail(`${violation.checker}: ${violation.what}\nreplay with: ${replay}`);
      }
      // A net that catches nothing because nothing swims would pass too.
      expect(acquired).toBeGreaterThan((to - from) * 2);
    },
    600_000,
  );
});
