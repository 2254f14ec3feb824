// One refresh error ends the process by an unhandled rejection (redis-semaphore).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("no failed renewal, release, abort or close leaves a rejection unhandled", async () => {
  const stage = createStage();
  const { locker, links, events } = await startedClient(stage);
  await stage.wait(locker.acquire("kept", { ttlMs: 300, keepAlive: true }));
  const forgotten = await stage.wait(locker.acquire("forgotten"));
  for (const link of links) link.refuse(new TypeError("not what anybody expects"));
  await stage.time.advance(1_000);
  void forgotten.release();
  await stage.time.advance(1_000);
  expect(events("lost").map(({ key }) => key)).toContain("kept");
  expect(events("backendFault")[0]?.error).toMatchObject({ code: "BACKEND_REFUSED" });
  await stage.wait(locker.close());
});
