/** A short run of chaos on one quorum of five backends of four kinds. */
import { expect, test } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { chaos, TIMEOUT_MS } from "./run-chaos.ts";

const KINDS = ["redis", "redis", "postgres", "etcd", "zookeeper"];

await describeWithServer("postgres", "chaos on a mixed quorum", () => {
  test("nothing promised breaks in a short run", { timeout: TIMEOUT_MS }, async () => {
    const words = ["--kinds", KINDS.join(","), "--backends", `${KINDS.length}`, "--minutes", "0.3"];
    const { code, said, verdict } = await chaos(...words, "--phase", "kills", "--phase", "mixed");
    expect(verdict.violations, said).toEqual([]);
    expect(code).toBe(0);
    for (const { phase, quorum, kinds, faults } of verdict.phases) {
      expect(quorum, phase).toBe(3);
      expect(kinds, phase).toEqual([...new Set(KINDS)]);
      expect(
        Object.values(faults).reduce((sum, count) => sum + count, 0),
        phase,
      ).toBeGreaterThan(0);
    }
    expect(verdict.holds).toBeGreaterThan(3);
    expect(verdict.handovers).toBeGreaterThan(0);
  });
});
