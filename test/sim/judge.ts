/** Runs a world and says what is wrong with it. */
import { CHECKERS } from "./checkers/all.js";
import { drive, type Drain } from "./drain.js";
import type { History, Violation } from "./history.js";
import type { TraceLine } from "./kernel.js";
import type { Plan } from "./plan.js";
import { PROFILES } from "./profiles.js";
import { runWorld, type Figures } from "./world.js";

/** A world that was run. */
export interface Judged {
  readonly figures: Figures;
  readonly history: History;
  /** Broken promises. */
  readonly broken: readonly Violation[];
  /** What is not promised in this profile, and did not hold. */
  readonly excused: readonly Violation[];
}

/** How to judge. */
export interface JudgeOptions {
  readonly trace?: (line: TraceLine) => void;
  readonly drain?: Drain;
  /** Checkers that do not look; for the proof that each is needed. */
  readonly without?: readonly string[];
}

/** Runs the world of a plan, with all checkers. */
export async function judge(plan: Plan, options: JudgeOptions = {}): Promise<Judged> {
  const { history, figures } = await withoutStacks(options.trace === undefined, () =>
    drive(runWorld(plan, options.trace), options.drain),
  );
  const notPromised: readonly string[] = PROFILES[plan.profile].notPromised;
  const found = Object.entries(CHECKERS)
    .filter(([name]) => options.without?.includes(name) !== true)
    .flatMap(([, check]) => check(history));
  return {
    figures,
    history,
    broken: found.filter(({ promise }) => !notPromised.includes(promise)),
    excused: found.filter(({ promise }) => notPromised.includes(promise)),
  };
}

/** Thousands of errors a second, of which nobody reads where they were made; with a trace somebody may. */
async function withoutStacks<T>(without: boolean, run: () => Promise<T>): Promise<T> {
  const before = Error.stackTraceLimit;
  if (without) Error.stackTraceLimit = 0;
  try {
    return await run();
  } finally {
    Error.stackTraceLimit = before;
  }
}
