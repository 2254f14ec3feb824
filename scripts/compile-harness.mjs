/** Compiles a part of test/ that starts servers into a folder of this process. */
import { symlinkSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { compileProject, ownFolder } from "./compile-project.mjs";

/**
 * @param {string} project the folder of its tsconfig.json, such as "test/chaos"
 * @returns {URL} what that folder became
 */
export function compileHarness(project) {
  const fresh = ownFolder(`${project.replaceAll("/", "-")}-${process.pid}`);
  compileProject(project, fresh);
  // The scripts that bring servers look for the cache relative to themselves.
  symlinkSync("..", `${fresh}.cache`);
  return pathToFileURL(`${fresh}${project}/`);
}
