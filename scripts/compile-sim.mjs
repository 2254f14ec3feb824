/**
 * Compiles the simulation and the production code that it runs into a folder of this process, beside which mutants are planted
 * in compiled text. Returns the folder of the compiled `test/sim`.
 */
import { pathToFileURL } from "node:url";
import { compileProject, ownFolder } from "./compile-project.mjs";

/** @returns {URL} */
export function compileSim() {
  const base = `${ownFolder(`sim/${process.pid}`)}base/`;
  compileProject("test/sim", base);
  return pathToFileURL(`${base}test/sim/`);
}
