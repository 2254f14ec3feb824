/** Runs every mutant until the simulation sees it, or its budget is used up. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Violation } from "./history.js";
import { FALSE_ALARMS } from "./false-alarms.js";
import { MUTANTS, type Mutant } from "./mutants.js";
import { plant } from "./plant.js";
import { drawPlan } from "./plan.js";

/** Everything that can be planted: bugs of the lock, and bugs of the simulation itself. */
export const PLANTED: readonly Mutant[] = [...MUTANTS, ...FALSE_ALARMS];

/** Where a mutant was seen first, from seed 1 on. */
export interface Finding {
  readonly name: string;
  readonly world: number;
  readonly checker: string;
}

/** How a run against one mutant ended. */
export interface MutantOutcome {
  readonly mutant: Mutant;
  /** Undefined when it survived. */
  readonly found: { readonly world: number; readonly violation: Violation } | undefined;
  readonly worlds: number;
}

/** What to run. */
export interface MutantRun {
  readonly mutants: readonly Mutant[];
  /** From the first seed on, instead of from just before the recorded find. */
  readonly full: boolean;
  readonly findings: readonly Finding[];
  /** A checker that does not look; then any other one may see the bug. */
  readonly without?: string | undefined;
}

/** So many worlds ahead of the recorded find a run begins. */
const AHEAD = 2;

/** Runs them one after the other. */
export async function* runMutants(run: MutantRun): AsyncGenerator<MutantOutcome> {
  for (const mutant of run.mutants) {
    const known = run.findings.find(({ name }) => name === mutant.name)?.world;
    const first = run.full || known === undefined ? 1 : Math.max(1, known - AHEAD);
    yield await runMutant(mutant, first, run.without);
  }
}

/** Runs one mutant from a seed on, for as many worlds as its budget has. */
export async function runMutant(mutant: Mutant, first: number, without?: string): Promise<MutantOutcome> {
  const { judge } = await plant(mutant);
  const options = without === undefined ? {} : { without: [without] };
  for (let seed = first; seed < first + mutant.worlds; seed++) {
    const { broken } = await judge(drawPlan(seed, mutant.profile), options);
    const violation = broken.find(({ checker }) => without !== undefined || mutant.seenBy.includes(checker));
    if (violation !== undefined) {
      return { mutant, found: { world: seed, violation }, worlds: seed - first + 1 };
    }
  }
  return { mutant, found: undefined, worlds: mutant.worlds };
}

/** The recorded finds. */
export function readFindings(file: URL): readonly Finding[] {
  return JSON.parse(readFileSync(file, "utf8")) as readonly Finding[];
}

/** Replaces the finds of the mutants that were run from the first seed on; the order is that of the list. */
export function writeFindings(file: URL, outcomes: readonly MutantOutcome[]): void {
  const before = new Map(readFindings(file).map((finding) => [finding.name, finding]));
  for (const { mutant, found } of outcomes) {
    if (found !== undefined) {
      before.set(mutant.name, { name: mutant.name, world: found.world, checker: found.violation.checker });
    }
  }
  const all = PLANTED.flatMap(({ name }) => before.get(name) ?? []);
  writeFileSync(file, `${JSON.stringify(all, undefined, 2)}\n`);
}
