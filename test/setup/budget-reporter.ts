/** Every test file has a time budget; the slowest are printed, and one over its budget fails the run. */
import type { Reporter, TestModule } from "vitest/node";

const BUDGET_MS = 60_000;
/** Files that need more, and why. */
const BUDGETS_MS: Readonly<Record<string, number>> = {
  // Some thousand simulated worlds; a busy machine doubles them.
  "test/sim/worlds.test.ts": 120_000,
  // All planted bugs, one after the other.
  "test/sim/mutants.test.ts": 200_000,
  // Every case of the list on three servers, in real time.
  "test/redis/conformance.test.ts": 120_000,
  // Ten processes and servers at once, in real time; a busy machine doubles it twice.
  "test/chaos/chaos.test.ts": 240_000,
  "test/chaos/plants.test.ts": 240_000,
  // Whole processes are started, killed, and watched until a TTL has passed.
  "test/cli/run.test.ts": 120_000,
  "test/cli/run-faults.test.ts": 120_000,
};
const SHOWN = 10;

export default class BudgetReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const files = modules
      .map((module) => ({ file: module.relativeModuleId, ms: module.diagnostic().duration }))
      .sort((a, b) => b.ms - a.ms);
    const slowest = files.slice(0, SHOWN).map(({ file, ms }) => `${(ms / 1000).toFixed(1)} s ${file}`);
    console.log(`\nSlowest test files:\n  ${slowest.join("\n  ")}`);
    for (const { file, ms } of files) {
      const budget = BUDGETS_MS[file] ?? BUDGET_MS;
      if (ms <= budget) continue;
      console.error(`${file} took ${(ms / 1000).toFixed(1)} s; its budget is ${budget / 1000} s`);
      process.exitCode = 1;
    }
  }
}
