/** A short run of chaos on real servers, every phase once. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { PHASES } from "./phases.ts";
import { chaos, ROOT, run, TIMEOUT_MS } from "./run-chaos.ts";

await describeWithServer("postgres", "chaos on real servers", () => {
  test("nothing promised breaks in a short run of every phase", { timeout: TIMEOUT_MS }, async () => {
    const { code, said, verdict } = await chaos("--minutes", "0.6");
    expect(verdict.violations, said).toEqual([]);
    expect(code).toBe(0);
    expect(new Set(verdict.phases.map(({ phase }) => phase))).toEqual(
      new Set(PHASES.map(({ name }) => name)),
    );
    expect(new Set(verdict.phases.map(({ quorum, backends }) => `${quorum}/${backends}`))).toEqual(
      new Set(["2/3", "3/5", "4/5"]),
    );
    for (const { phase, holds, handovers, faults } of verdict.phases) {
      expect(holds, phase).toBeGreaterThan(5);
      expect(handovers, phase).toBeGreaterThan(2);
      expect(
        Object.values(faults).reduce((sum, count) => sum + count, 0),
        phase,
      ).toBeGreaterThan(0);
    }
    expect(verdict.writes.accepted).toBeGreaterThan(verdict.holds);
    expect(verdict.writes.stale).toBeGreaterThan(0);
    expect(verdict.signals).toBeGreaterThan(0);
  });

  test("what it does not understand it refuses in one line", async () => {
    const { code, said } = await run([join(ROOT, "scripts/chaos.mjs"), "--phase", "no-such-phase"]);
    expect(code).toBe(2);
    expect(said.trim().split("\n")).toEqual([expect.stringContaining("--phase must be one of kills, ")]);
  });
});
