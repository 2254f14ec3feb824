/** The in-process guard under eight paused holders, and how the test notices one that does not check. */
import { expect, test } from "vitest";
import { createHighWaterMarks, guardInProcess } from "../../src/guard/in-process.js";
import { HOLDER_COUNT, planOf, runHolders, type Resource, type Write } from "./holders.ts";

/** The writes of a `Map`, guarded by `guard` in the same turn or not. */
function resource(write: (log: bigint[], lease: { key: string; token: bigint }) => void): Resource {
  const log: bigint[] = [];
  const writer: Write = async (lease, pauseAt) => {
    await pauseAt("before-guard");
    await pauseAt("before-write");
    write(log, lease);
    await pauseAt("before-commit");
  };
  return { writers: Array.from({ length: HOLDER_COUNT }, () => writer), history: async () => log };
}

test("of eight holders with fifty pauses and 10,000 writes each, no stale one writes and no current one is refused", async () => {
  const marks = createHighWaterMarks();
  const plan = planOf("in process", 10_000);
  const verdict = await runHolders(
    resource((log, lease) => {
      guardInProcess(marks, lease);
      log.push(lease.token);
    }),
    plan,
  );
  expect(verdict.violations, `seed ${plan.seed}`).toEqual([]);
  expect(verdict.accepted).toBeGreaterThan(70_000);
  expect(verdict.refused).toBeGreaterThan(50);
}, 60_000);

test("the test with eight holders notices a guard that checks nothing", async () => {
  const verdict = await runHolders(
    resource((log, { token }) => void log.push(token)),
    planOf("unguarded", 1_000),
  );
  expect(verdict.violations.join()).toContain("was taken after");
});
