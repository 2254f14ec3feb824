// A retry counts its own key of the attempt before as foreign and blocks itself (redlock).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("a retry is not blocked by what the attempt before left behind", async () => {
  const stage = createStage();
  const { locker, links, events } = await startedClient(stage);
  links[1]?.kill();
  links[2]?.kill();
  // Those before met a quarantine, which leaves nothing behind.
  const before = links[0]?.calls.acquire ?? 0;
  const acquiring = locker.acquire("key", { ttlMs: 60_000, waitMs: 10_000 });
  await stage.time.advance(500);
  links[1]?.revive();
  expect(await stage.lasting(acquiring)).toBeLessThanOrEqual(250);
  const votes = events("acquired")[0]?.votes.map(({ vote }) => vote);
  expect(votes).not.toContain("held");
  expect(links[0]?.calls.release).toBeGreaterThanOrEqual((links[0]?.calls.acquire ?? 0) - before - 1);
});
