import type { Capabilities } from "../src/backend.js";
import type { ConformanceCase } from "../src/testing/conformance.js";
export interface AdapterFile {
  adapter: string;
  file: string;
}
export interface Cell {
  kind: "pass" | "fail" | "n/a" | "not run";
  why: string;
}
export declare function conformanceFiles(): AdapterFile[];
export declare function conformanceMatrix(of: {
  cases: readonly ConformanceCase[];
  files: readonly AdapterFile[];
  results: {
    testResults: readonly {
      name: string;
      assertionResults: readonly { title: string; status: string; ancestorTitles: readonly string[] }[];
    }[];
  };
  capabilities: readonly { adapter: string; variant: string; capabilities: Capabilities }[];
}): { adapters: string[]; rows: { name: string; cells: Cell[] }[] };
