// Expiry by a client's clock in the shared store (verrou SQL, redis-semaphore).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("a lock lasts by the backend's own clock, however wrong the wall clocks of its clients are", async () => {
  const stage = createStage();
  const ahead = await startedClient(stage, { clock: { wallOffsetMs: 86_400_000 } });
  await stage.wait(ahead.locker.acquire("key", { ttlMs: 1_000 }));
  ahead.process.crash();
  const behind = await startedClient(stage, { clock: { wallOffsetMs: -86_400_000 } });
  await stage.time.advance(600);
  expect((await stage.wait(behind.locker.tryAcquire("key"))).acquired).toBe(false);
  await stage.time.advance(101);
  expect((await stage.wait(behind.locker.tryAcquire("key"))).acquired).toBe(true);
});
