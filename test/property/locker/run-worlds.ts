/** Registers a test for every profile: so many worlds, all checkers, and a failure that says how to see it again. */
import { expect, it } from "vitest";
import { violationsOf } from "./checkers/all.js";
import { runWorld, type Profile } from "./world.js";

/** Worlds of each profile; `QUORUM_LOCK_WORLDS=…` runs more. 150 take about four seconds of processor time. */
const WORLDS = Number(process.env["QUORUM_LOCK_WORLDS"] ?? 150);
/** `QUORUM_LOCK_SEED=…` runs one. */
const ONLY = process.env["QUORUM_LOCK_SEED"];
const LIMIT_MS = 600_000;

export function itHoldsInWorlds(file: string, profiles: Readonly<Record<string, Profile>>): void {
  it.each(Object.entries(profiles))(
    "holds in worlds that are: %s",
    async (title, profile) => {
      const from = ONLY === undefined ? 1 : Number(ONLY);
      const to = ONLY === undefined ? 1 + WORLDS : from + 1;
      let acquired = 0;
      for (let seed = from; seed < to; seed++) {
        const history = await runWorld(seed, profile);
        acquired += history.records.filter(({ kind }) => kind === "acquired").length;
        const [violation] = violationsOf(history);
        if (violation === undefined) continue;
        const replay = `QUORUM_LOCK_SEED=${seed} npx vitest run --project pure ${file} -t "${title}"`;
        expect.fail(`${violation.checker}: ${violation.what}\nreplay with: ${replay}`);
      }
      // A net that catches nothing because nothing swims would pass too.
      expect(acquired).toBeGreaterThan(ONLY === undefined ? (to - from) * 2 : -1);
    },
    LIMIT_MS,
  );
}
