import { memory } from "../../src/adapters/memory.js";
import { describeConformance } from "./run-conformance.js";
import { virtualSetup } from "./virtual-context.js";

describeConformance("memory, in virtual time", () =>
  virtualSetup((clock, newIncarnation) => memory({ clock, newIncarnation })),
);
