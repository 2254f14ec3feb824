// An even split (2 of 4, 1 of 2) never settles (redlock).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it.each([2, 4])("an even split of %i backends is lost at once, and its minority is released", async (n) => {
  const stage = createStage({ n });
  const [one, two] = [await startedClient(stage), await startedClient(stage)];
  // Each holds half of the backends.
  for (const [client, mine] of [
    [one, 0],
    [two, 1],
  ] as const) {
    client.links.forEach((link, i) => {
      const ms = Number(i % 2 !== mine) * 10;
      link.setDelay({ toMs: [ms, ms], backMs: [5, 5] });
    });
  }
  const startedAt = stage.time.trueMs();
  const both = await stage.wait(Promise.all([one, two].map(({ locker }) => locker.tryAcquire("key"))));
  expect(both.map(({ acquired }) => acquired)).toEqual([false, false]);
  expect(stage.time.trueMs() - startedAt).toBe(15);
  await stage.time.advance(20);
  expect((await stage.owners("key")).filter((owner) => owner !== undefined)).toEqual([]);
});
