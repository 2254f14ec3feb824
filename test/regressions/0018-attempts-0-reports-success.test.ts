// `attempts: 0` reports success (verrou).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("an option that asks for no attempt is refused, and no wait at all still tries once", async () => {
  const stage = createStage();
  expect(() => stage.client({ attempts: 0 } as never)).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION", option: "attempts" }),
  );
  const { locker, links } = await startedClient(stage);
  for (const options of [{ attempts: 0 }, { retries: 0 }, { retryCount: 0 }]) {
    expect((await stage.error(locker.acquire("key", options as never))).code).toBe("INVALID_OPTION");
  }
  const before = links[0]?.calls.acquire ?? 0;
  expect((await stage.wait(locker.acquire("key", { waitMs: 0 }))).acquired).toBe(true);
  expect((links[0]?.calls.acquire ?? 0) - before).toBe(1);
});
