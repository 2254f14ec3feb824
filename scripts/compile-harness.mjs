/**
 * Compiles a part of test/ that starts servers, since Node 20 runs no TypeScript, into a folder of this process that is gone with
 * it.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * @param {string} project the folder of its tsconfig.json, such as "test/chaos"
 * @returns {URL} what that folder became
 */
export function compileHarness(project) {
  // A folder of its own, so that several runs do not meet.
  const fresh = `${root}.cache/${project.replaceAll("/", "-")}-${process.pid}/`;
  mkdirSync(fresh, { recursive: true });
  process.once("exit", () => rmSync(fresh, { recursive: true, force: true }));
  const compiler = `${root}node_modules/typescript/bin/tsc`;
  const args = [compiler, "-p", `${root}${project}/tsconfig.json`, "--outDir", fresh];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 120_000 });
  if (status !== 0) throw new Error(`${project} does not compile:\n${stdout}`);
  // The scripts that bring servers look for the cache relative to themselves.
  symlinkSync("..", `${fresh}.cache`);
  return pathToFileURL(`${fresh}${project}/`);
}
