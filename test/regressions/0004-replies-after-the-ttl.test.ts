// Replies after the TTL: a lock that is dead already is returned (redlock, redis-semaphore).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("a majority that answers after the validity is refused, and what it granted is released", async () => {
  const stage = createStage();
  const { locker, links, process } = await startedClient(stage);
  for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
  const trying = locker.tryAcquire("key", { ttlMs: 200 });
  await stage.time.advance(6);
  // The replies are there before the deadline's timer, and the process hears of them when it is too late.
  process.stall(198);
  expect((await stage.wait(trying)).acquired).toBe(false);
  await stage.time.advance(20);
  expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
});
