// An in-memory double differs from the real store: an expired owner frees the next owner's lock (verrou).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("the release of an expired lease leaves the next owner's lock alone, with memory backends too", async () => {
  const stage = createStage();
  const first = await startedClient(stage);
  const expired = await stage.wait(first.locker.acquire("key", { ttlMs: 100 }));
  await stage.time.advance(150);
  const second = await startedClient(stage);
  const theirs = await stage.wait(second.locker.acquire("key"));
  expect(await stage.wait(expired.release())).toBe("not-owner");
  expect(await stage.wait(theirs.extend())).toBeGreaterThan(900);
});
