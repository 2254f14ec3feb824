// A backend that lost its memory votes again at once: two holders (all Redlocks).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("backends that lost their memory do not vote while a lock that they forgot may be in use", async () => {
  const stage = createStage();
  const figures = { maxTtlMs: 2_000, clockSkewMs: 100 };
  const first = await startedClient(stage, figures);
  first.links[2]?.kill();
  const lease = await stage.wait(first.locker.acquire("key", { ttlMs: 2_000 }));
  stage.memories[1]?.restart("lost");
  const second = stage.client(figures);
  const next = second.locker.acquire("key", { waitMs: 10_000 });
  await stage.time.advance(lease.remainingMs - 26);
  expect(lease.remainingMs).toBeGreaterThan(0);
  expect(second.events("acquired")).toEqual([]);
  const theirs = await stage.wait(next);
  expect(lease.remainingMs).toBe(0);
  expect(theirs.token).toBeGreaterThan(lease.token);
});
