// The loss signal waits for a hung request: 2.5 to 12 s after expiry (redlock, redlock-universal, redis-semaphore).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("the loss signal comes by the local clock at the end of validity, while every request hangs", async () => {
  const stage = createStage();
  const { locker, links } = await startedClient(stage);
  const lease = await stage.wait(locker.acquire("key", { ttlMs: 5_000, keepAlive: true }));
  const endsAt = stage.time.trueMs() + lease.remainingMs;
  let abortedAt = Number.NaN;
  lease.signal.addEventListener("abort", () => {
    abortedAt = stage.time.trueMs();
  });
  for (const link of links) link.hang();
  await stage.time.advance(20_000);
  expect(abortedAt).toBeLessThanOrEqual(endsAt);
  expect(abortedAt).toBeGreaterThanOrEqual(endsAt - 50);
});
