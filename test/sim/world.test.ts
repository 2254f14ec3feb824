/** What a world and the lockers in it must agree on. */
import { expect, it } from "vitest";
import { createLocker, type Deployment } from "../../src/index.js";
import { memory } from "../../src/adapters/memory.js";
import { drawPlan } from "./plan.js";
import { PROFILES, type ProfileName } from "./profiles.js";
import { deploymentOf } from "./world.js";

const NAMES = Object.keys(PROFILES) as ProfileName[];

it.each(NAMES)("looks at backends with the figures of the lockers, in profile %s", (name) => {
  for (let seed = 1; seed <= 20; seed++) {
    const plan = drawPlan(seed, name);
    const opened: Deployment[] = [];
    const backends = plan.natures.map(({ grainMs, durable }, index) => {
      const backend = memory({ name: `b${index + 1}` });
      return {
        ...backend,
        capabilities: { ...backend.capabilities, durable, earlyByMs: grainMs, lateByMs: grainMs },
        open(deployment: Deployment) {
          opened.push(deployment);
          return backend.open(deployment);
        },
      };
    });
    createLocker({
      backends,
      ttlMs: Math.ceil(plan.maxTtlMs / 2),
      maxTtlMs: plan.maxTtlMs,
      clockSkewMs: plan.clockSkewMs,
      driftPpm: plan.driftPpm,
      ...(plan.quorum === undefined ? {} : { quorum: plan.quorum }),
      restartGuard: plan.guard,
    });
    expect(opened).toHaveLength(plan.n);
    for (const deployment of opened) expect(deployment).toEqual(deploymentOf(plan));
  }
});
