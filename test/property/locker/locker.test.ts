/** The production locker in simulated worlds in which backends lose their memory. */
import { describe } from "vitest";
import { LOSS_PROFILES } from "./profiles.js";
import { itHoldsInWorlds } from "./run-worlds.js";

describe("every promise of the locker", () => {
  itHoldsInWorlds("test/property/locker/locker.test.ts", LOSS_PROFILES);
});
