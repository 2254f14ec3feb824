/** The same seed gives the same trace, byte for byte; `npm run test:newest-node` compares two versions of Node. */
import { describe, expect, it } from "vitest";
import type { Drain } from "./drain.js";
import { judge } from "./judge.js";
import { drawPlan } from "./plan.js";
import { PROFILES, type ProfileName } from "./profiles.js";
import { traceText } from "./timeline.js";

const NAMES = Object.keys(PROFILES) as ProfileName[];

async function trace(seed: number, name: ProfileName, drain?: Drain): Promise<readonly string[]> {
  const lines: string[] = [];
  await judge(drawPlan(seed, name), {
    trace: (line) => lines.push(traceText(line)),
    ...(drain === undefined ? {} : { drain }),
  });
  return lines;
}

describe("a seed", () => {
  it.each(NAMES)("decides everything in a world of profile %s", async (name) => {
    const first = await trace(3, name);
    expect(first.length).toBeGreaterThan(50);
    expect(await trace(3, name)).toEqual(first);
  });

  it("decides what another one decides otherwise", async () => {
    expect(await trace(4, "strict")).not.toEqual(await trace(3, "strict"));
  });

  it("decides the same without a trace", async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const plan = drawPlan(seed, "auto");
      const { figures } = await judge(plan, { trace: () => undefined });
      expect((await judge(plan)).figures).toEqual(figures);
    }
  });
});

describe("the cheap way of letting promises settle", () => {
  it.each(NAMES)("gives the trace of a turn of the event loop at each event, in profile %s", async (name) => {
    for (let seed = 11; seed <= 14; seed++) {
      expect(await trace(seed, name, "tick")).toEqual(await trace(seed, name, "turn"));
    }
  });
});
