/** The production locker in simulated worlds in which no memory is lost, but clocks and delays go wrong. */
import { describe } from "vitest";
import { CLOCK_PROFILES } from "./profiles.js";
import { itHoldsInWorlds } from "./run-worlds.js";

describe("every promise of the locker that needs no agreeing clocks", () => {
  itHoldsInWorlds("test/property/locker/clocks.test.ts", CLOCK_PROFILES);
});
