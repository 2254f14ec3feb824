/** Registers the conformance list under vitest, for any adapter. */
import { describe, it } from "vitest";
import { conformanceCases, missingNeeds, type ConformanceContext } from "../../src/testing/conformance.js";

/** Where one case runs. */
export interface ConformanceSetup {
  readonly context: ConformanceContext;
  /** Makes time pass while the case runs; virtual time needs it. */
  readonly drive?: (running: Promise<void>) => Promise<void>;
  /** Closes what was opened. */
  readonly close?: () => Promise<void>;
}

/** Every case of the list as a test of its own, each in a fresh setup. */
export function describeConformance(
  title: string,
  setUp: () => Promise<ConformanceSetup> | ConformanceSetup,
): void {
  describe(`conformance: ${title}`, () => {
    for (const each of conformanceCases) {
      it(each.name, async ({ skip }) => {
        const { context, drive, close } = await setUp();
        try {
          const missing = missingNeeds(each, context);
          if (missing.length > 0) skip(`needs ${missing.join(", ")}`);
          const running = each.run(context);
          await (drive === undefined ? running : drive(running));
        } finally {
          await close?.();
        }
      });
    }
  });
}
