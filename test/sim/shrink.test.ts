import { describe, expect, it } from "vitest";
import { FAULT_KINDS } from "./faults.js";
import { judge } from "./judge.js";
import type { TraceLine } from "./kernel.js";
import { drawPlan } from "./plan.js";
import { PROFILES } from "./profiles.js";
import { shrink, withFaults } from "./shrink.js";
import { lanesOf, timelineSvg, timelineText } from "./timeline.js";

/** A world of a profile without its excuses, so that there is something to shrink. */
async function withoutExcuses<T>(run: () => Promise<T>): Promise<T> {
  const profile = PROFILES.frozen as { notPromised: readonly string[] };
  const before = profile.notPromised;
  profile.notPromised = [];
  try {
    return await run();
  } finally {
    profile.notPromised = before;
  }
}

describe("shrinking", () => {
  it("leaves only faults without which the promise holds, and they still break it", async () => {
    await withoutExcuses(async () => {
      for (let seed = 1, shrunk = 0; shrunk < 2; seed++) {
        expect(seed).toBeLessThan(400);
        const plan = drawPlan(seed, "frozen");
        const { broken } = await judge(plan);
        if (!broken.some(({ checker }) => checker === "exclusion")) continue;
        shrunk++;
        const needed = await shrink(plan, "exclusion");
        const breaks = async (indexes: readonly number[]): Promise<boolean> =>
          (await judge(withFaults(plan, indexes))).broken.some(({ checker }) => checker === "exclusion");
        expect(needed.length).toBeLessThan(plan.faults.length);
        expect(await breaks(needed)).toBe(true);
        for (const index of needed) {
          expect(await breaks(needed.filter((each) => each !== index))).toBe(false);
        }
        expect(needed.map((index) => plan.faults[index]?.kind)).toContain("unseen pause");
      }
    });
  });
});

describe("a timeline", () => {
  it("has a lane for each client and backend, and a line for each thing that it shows", async () => {
    const lines: TraceLine[] = [];
    const plan = drawPlan(8, "clocks");
    const { history } = await judge(plan, { trace: (line) => lines.push(line) });
    const lanes = lanesOf(lines);
    for (let i = 1; i <= plan.n; i++) expect(lanes).toContain(`b${i}`);
    for (let i = 1; i <= plan.clients.length; i++) expect(lanes).toContain(`c${i}`);
    const kinds = new Set(["fault", "lease"] as const);
    const text = timelineText(lines, kinds).split("\n");
    const shown = lines.filter(({ kind }) => kind === "fault" || kind === "lease");
    expect(shown.length).toBeGreaterThan(10);
    expect(text.length).toBe(1 + shown.length);
    const svg = timelineSvg(lines, history, "<world>");
    expect(svg).toContain("&lt;world&gt;");
    expect(svg.match(/<rect x=/g)?.length).toBe(history.leases.length);
  });
});

describe("the faults", () => {
  it("all take place in some world", async () => {
    const seen = new Set<string>();
    for (const name of Object.keys(PROFILES) as (keyof typeof PROFILES)[]) {
      for (let seed = 1; seed <= 3; seed++)
        for (const { kind } of drawPlan(seed, name).faults) seen.add(kind);
    }
    expect([...seen].sort()).toEqual([...FAULT_KINDS].sort());
  });
});
