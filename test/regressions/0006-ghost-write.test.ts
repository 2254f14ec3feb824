// A write that timed out at the client is executed later and stays until its TTL (all).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("an acquire that is executed after its client gave up is followed by a release on every backend", async () => {
  const stage = createStage();
  const { locker, links } = await startedClient(stage);
  for (const link of links) link.hang();
  expect((await stage.wait(locker.tryAcquire("key", { ttlMs: 60_000 }))).acquired).toBe(false);
  const other = await startedClient(stage);
  const theirs = await stage.wait(other.locker.acquire("key", { ttlMs: 60_000 }));
  // The ghosts are executed now, under the lease of another.
  for (const link of links) link.resume();
  await stage.time.advance(50);
  expect(await stage.wait(theirs.extend())).toBeGreaterThan(59_000);
  await stage.wait(theirs.release());
  expect((await stage.wait(other.locker.tryAcquire("key"))).acquired).toBe(true);
});
