// Validity is counted from the reply, or without drift (redlock-universal, madelson).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("validity is counted from before the first send, and drift is taken off", async () => {
  const stage = createStage();
  const { locker, links } = await startedClient(stage, { driftPpm: 10_000 });
  for (const link of links) link.setDelay({ toMs: [90, 90], backMs: [90, 90] });
  const lease = await stage.wait(locker.acquire("key", { ttlMs: 1_000 }));
  expect(lease.remainingMs).toBeCloseTo((1_000 * 0.99) / 1.01 - 1 - 180, 6);
});
