// All backends down looks like contention: a bare timeout (redis-semaphore, verrou).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("held and unreachable are different errors, each with the votes and causes", async () => {
  const stage = createStage();
  const holder = await startedClient(stage);
  await stage.wait(holder.locker.acquire("key"));
  const { locker, links } = await startedClient(stage);
  const held = await stage.error(locker.acquire("key", { waitMs: 100 }));
  for (const link of links) link.kill();
  const down = await stage.error(locker.acquire("key", { waitMs: 100 }));
  expect([held.code, down.code]).toEqual(["LOCK_HELD", "NO_QUORUM"]);
  expect(held.message).toContain("held for another");
  expect(down.message).toContain("connection refused");
  expect(held.cause).toBeUndefined();
  expect((down.cause as AggregateError).errors.length).toBeGreaterThan(1);
});
