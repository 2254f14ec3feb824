// A quorum of 1 of 3 is accepted (redlock-universal).
import { expect, it } from "vitest";
import { createStage, failOnUnhandledRejections } from "../lock/stage.js";

failOnUnhandledRejections();

it.each([
  [1, 3],
  [2, 4],
  [2, 5],
  [0, 1],
  [4, 3],
])("a quorum of %i of %i backends is refused", (quorum, n) => {
  const stage = createStage({ n });
  expect(() => stage.client({ quorum })).toThrow(
    expect.objectContaining({
      code: "INVALID_OPTION",
      option: "quorum",
      message: expect.stringContaining("majority") as string,
    }),
  );
});
