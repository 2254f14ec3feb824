// Two URLs of the same server count as two votes (all).
import { expect, it } from "vitest";
import { createLocker } from "../../src/index.js";
import { createStage, failOnUnhandledRejections } from "../lock/stage.js";

failOnUnhandledRejections();

it("two names of one server are detected and refused, and never make a quorum of two", async () => {
  const stage = createStage({ n: 1 });
  const [one] = stage.memories;
  if (one === undefined) return;
  const backends = ["localhost", "127.0.0.1"].map((name) => ({ ...one, name, client: {} }));
  const locker = createLocker({ backends, system: stage.time.process(), restartGuard: "off", waitMs: 500 });
  const error = await stage.error(locker.acquire("key"));
  expect(error).toMatchObject({ code: "SAME_BACKEND", backends: ["localhost", "127.0.0.1"] });
  expect(() => createLocker({ backends: [one, one] })).toThrow(
    expect.objectContaining({ code: "SAME_BACKEND" }),
  );
});
