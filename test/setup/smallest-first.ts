/** The shortest files first: where the first failure ends a run, the quick tests of a unit speak before random ones. */
import { statSync } from "node:fs";
import { BaseSequencer, type TestSpecification } from "vitest/node";

export class SmallestFirst extends BaseSequencer {
  override sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const weight = ({ moduleId }: TestSpecification): number =>
      (moduleId.includes("/engine/") ? 0 : 1e9) + statSync(moduleId).size;
    return Promise.resolve([...files].sort((a, b) => weight(a) - weight(b)));
  }
}
