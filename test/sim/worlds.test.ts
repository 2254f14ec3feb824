/** Some thousand worlds of every kind; `npm run sim -- --minutes 30` runs more of the same. */
import { describe, expect, it } from "vitest";
import { INSIDE_NAMES, OUTSIDE_NAMES, PROFILES, type ProfileName } from "./profiles.js";
import { runWorlds, type Failure, type Tally } from "./run.js";

/** Of each profile inside the assumptions, and outside of them. */
const SEEDS_INSIDE = 110;
const SEEDS_OUTSIDE = 40;
const LIMIT_MS = 300_000;

async function run(name: ProfileName, seeds: number): Promise<Tally> {
  let failure: Failure | undefined;
  const tallies = await runWorlds(
    { profiles: [name], firstSeed: 1, seeds, withinMs: undefined },
    (_sofar, found) => {
      failure = found;
      return found === undefined ? "go on" : "stop";
    },
  );
  if (failure !== undefined) {
    const [{ checker, what } = { checker: "", what: "" }] = failure.broken;
    expect.fail(
      `${checker}: ${what}\nshrink and see it with: npm run sim -- --profile ${name} --seed ${failure.plan.seed} --seeds 1`,
    );
  }
  const tally = tallies.get(name);
  if (tally === undefined) expect.fail(`no world of ${name} was run`);
  return tally;
}

describe("every promise of the production code", () => {
  it.each(INSIDE_NAMES.map((name) => [PROFILES[name].what, name] as const))(
    "holds in worlds inside the assumptions: %s",
    async (_what, name) => {
      const { worlds, events, faults, leases } = await run(name, SEEDS_INSIDE);
      expect(worlds).toBe(SEEDS_INSIDE);
      // A net that catches nothing because nothing swims would pass too.
      expect(events / worlds).toBeGreaterThan(200);
      expect(faults / worlds).toBeGreaterThan(10);
      // The first moments of a deployment are over before many leases are won.
      const isAboutTheStart = "fromTheStart" in PROFILES[name];
      expect(leases / worlds).toBeGreaterThan(isAboutTheStart ? 0.5 : 1.5);
    },
    LIMIT_MS,
  );

  it.each(OUTSIDE_NAMES.map((name) => [PROFILES[name].what, name] as const))(
    "holds as far as it is promised outside of them: %s",
    async (_what, name) => {
      const { worlds, leases } = await run(name, SEEDS_OUTSIDE);
      expect(worlds).toBe(SEEDS_OUTSIDE);
      expect(leases / worlds).toBeGreaterThan(1);
    },
    LIMIT_MS,
  );

  it("is really broken where it is not promised, so that these worlds are what they say", async () => {
    const { excused } = await run("expiry", SEEDS_OUTSIDE);
    expect(excused["exclusion"]).toBeGreaterThan(SEEDS_OUTSIDE / 4);
  });
});
