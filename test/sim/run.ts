/** Runs many worlds and adds up what happened in them. */
import type { Violation } from "./history.js";
import { judge } from "./judge.js";
import { drawPlan, type Plan } from "./plan.js";
import type { ProfileName } from "./profiles.js";
import type { Figures } from "./world.js";

/** What happened in the worlds of one profile. */
export interface Tally extends Figures {
  readonly worlds: number;
  /** Worlds in which a promise was broken. */
  readonly violated: number;
  /** For each promise that the profile does not make: in how many worlds it did not hold. */
  readonly excused: Readonly<Record<string, number>>;
}

/** A world in which a promise was broken. */
export interface Failure {
  readonly plan: Plan;
  readonly broken: readonly Violation[];
}

/** Which worlds to run. */
export interface Selection {
  readonly profiles: readonly ProfileName[];
  readonly firstSeed: number;
  /** So many seeds of each profile; undefined for no end but the time. */
  readonly seeds: number | undefined;
  /** No new world after so long; undefined for no such end. */
  readonly withinMs: number | undefined;
}

/** Told after every world; the run ends when it says so. */
export type Listener = (
  tallies: ReadonlyMap<ProfileName, Tally>,
  failure: Failure | undefined,
) => "go on" | "stop";

const NOTHING: Tally = {
  worlds: 0,
  violated: 0,
  excused: {},
  simulatedMs: 0,
  events: 0,
  faults: 0,
  leases: 0,
  fast: 0,
};

/** Runs the worlds, one seed of every profile after the other. */
export async function runWorlds(
  { profiles, firstSeed, seeds, withinMs }: Selection,
  listener: Listener,
): Promise<ReadonlyMap<ProfileName, Tally>> {
  const startedAt = performance.now();
  const tallies = new Map<ProfileName, Tally>(profiles.map((name) => [name, NOTHING]));
  for (let seed = firstSeed; seeds === undefined || seed < firstSeed + seeds; seed++) {
    for (const name of profiles) {
      if (withinMs !== undefined && performance.now() - startedAt >= withinMs) return tallies;
      const plan = drawPlan(seed, name);
      const { figures, broken, excused } = await judge(plan);
      const before = tallies.get(name) ?? NOTHING;
      tallies.set(name, {
        ...sum(before, figures),
        worlds: before.worlds + 1,
        violated: before.violated + (broken.length > 0 ? 1 : 0),
        excused: counted(before.excused, excused),
      });
      const failure = broken.length > 0 ? { plan, broken } : undefined;
      if (listener(tallies, failure) === "stop") return tallies;
    }
  }
  return tallies;
}

/** The sum over all profiles. */
export function total(tallies: ReadonlyMap<ProfileName, Tally>): Tally {
  let all = NOTHING;
  for (const tally of tallies.values()) {
    all = {
      ...sum(all, tally),
      worlds: all.worlds + tally.worlds,
      violated: all.violated + tally.violated,
      excused: {},
    };
  }
  return all;
}

function sum(a: Figures, b: Figures): Figures {
  return {
    simulatedMs: a.simulatedMs + b.simulatedMs,
    events: a.events + b.events,
    faults: a.faults + b.faults,
    leases: a.leases + b.leases,
    fast: a.fast + b.fast,
  };
}

function counted(
  before: Readonly<Record<string, number>>,
  excused: readonly Violation[],
): Readonly<Record<string, number>> {
  if (excused.length === 0) return before;
  const after: Record<string, number> = { ...before };
  for (const promise of new Set(excused.map((each) => each.promise))) {
    after[promise] = (after[promise] ?? 0) + 1;
  }
  return after;
}
