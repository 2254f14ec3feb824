// One hung backend of three slows acquire to its timeout, or for ever (redlock-universal, redis-semaphore).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it.each([0, 1, 2])("hung backend number %i of three adds 0 ms to acquire and release", async (hung) => {
  const stage = createStage();
  const { locker, links } = await startedClient(stage);
  for (const link of links) link.setDelay({ toMs: [3, 3], backMs: [3, 3] });
  links[hung]?.hang();
  expect(await stage.lasting(locker.withLock("key", () => undefined))).toBe(12);
});
