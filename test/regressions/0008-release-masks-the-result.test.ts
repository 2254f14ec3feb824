// Release masks the routine's result or error (redlock, verrou).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("the result and the error of a job survive a release that fails, which is reported beside it", async () => {
  const stage = createStage();
  const { locker, links, events } = await startedClient(stage);
  const dying = (): void => {
    for (const link of links) link.kill();
  };
  expect(await stage.wait(locker.withLock("a", () => (dying(), "result")))).toBe("result");
  for (const link of links) link.revive();
  const mine = new Error("mine");
  const failing = locker.withLock("b", () => {
    dying();
    throw mine;
  });
  expect(await stage.error(failing)).toBe(mine);
  expect(events("released").map(({ outcome }) => outcome)).toEqual(["unknown", "unknown"]);
});
