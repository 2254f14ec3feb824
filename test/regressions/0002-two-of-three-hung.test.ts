// Two of three backends hung: acquire never settles (redlock, redis-semaphore).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("acquire fails within the wait limit when two of three backends hang, and names each backend", async () => {
  const stage = createStage();
  const { locker, links } = await startedClient(stage);
  links[0]?.hang();
  links[1]?.hang();
  const startedAt = stage.time.trueMs();
  const error = await stage.error(locker.acquire("key", { waitMs: 3_000 }));
  expect(stage.time.trueMs() - startedAt).toBeLessThanOrEqual(3_000);
  expect(error.code).toBe("NO_QUORUM");
  for (const name of ["b1", "b2", "b3"]) expect(error.message).toContain(name);
});
