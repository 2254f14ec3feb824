/**
 * The conformance list: every promise of the contract in `backend.ts` as a case that any runner can run, against any
 * adapter. It holds no test runner: a case resolves or rejects with a {@link ConformanceFailure}.
 */
import { acquireCases } from "./conformance/acquire-cases.js";
import type { ConformanceCase } from "./conformance/case.js";
import { expiryCases } from "./conformance/expiry-cases.js";
import { extendCases } from "./conformance/extend-cases.js";
import { keyCases } from "./conformance/key-cases.js";
import { markCases } from "./conformance/mark-cases.js";
import { operatorCases } from "./conformance/operator-cases.js";
import { quarantineCases } from "./conformance/quarantine-cases.js";
import { raiseCases } from "./conformance/raise-cases.js";
import { releaseCases } from "./conformance/release-cases.js";
import { restartCases } from "./conformance/restart-cases.js";
import { tokenCases } from "./conformance/token-cases.js";

export { missingNeeds } from "./conformance/case.js";
export type { ConformanceCase, ConformanceContext, Need, Restarts } from "./conformance/case.js";
export { ConformanceFailure } from "./conformance/check.js";

/**
 * All cases. Run each in a context of its own, those of which {@link missingNeeds} names nothing.
 *
 * @example
 * ```ts
 * import { conformanceCases, missingNeeds } from "quorum-lock/testing";
 *
 * for (const each of conformanceCases) {
 *   const context = await makeContext();
 *   if (missingNeeds(each, context).length === 0) await each.run(context);
 * }
 * ```
 */
export const conformanceCases: readonly ConformanceCase[] = [
  ...acquireCases,
  ...tokenCases,
  ...raiseCases,
  ...extendCases,
  ...releaseCases,
  ...expiryCases,
  ...keyCases,
  ...markCases,
  ...quarantineCases,
  ...restartCases,
  ...operatorCases,
];
