import { defineConfig } from "vitest/config";
import { SmallestFirst } from "./test/setup/smallest-first.js";

/**
 * The quick tests of the engine alone, as `npm run mutation` runs them for every mutant: pure, in virtual time, and
 * with one seed for fast-check, so that a score can be repeated.
 */
export default defineConfig({
  test: {
    include: [
      "test/engine/**/*.test.ts",
      "test/property/engine-*.test.ts",
      "test/conformance/{memory,cas-store}.test.ts",
    ],
    setupFiles: ["./test/setup/one-seed.ts"],
    sequence: { sequencer: SmallestFirst },
    isolate: false,
    pool: "threads",
    testTimeout: 30_000,
  },
});
