// The renewal loop spins: 239 extends in 300 ms at ttl 1000 (redlock-universal).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("renewal at ttl 1000 sends at most one extend in 300 ms while all is well, and six when nothing answers", async () => {
  const stage = createStage();
  const { locker, links } = await startedClient(stage);
  await stage.wait(locker.acquire("key", { ttlMs: 1_000, keepAlive: true }));
  const before = links[0]?.calls.extend ?? 0;
  await stage.time.advance(300);
  expect((links[0]?.calls.extend ?? 0) - before).toBeLessThanOrEqual(1);
  for (const link of links) link.kill();
  await stage.time.advance(300);
  expect((links[0]?.calls.extend ?? 0) - before).toBeLessThanOrEqual(7);
});
