/** Compiles a part of test/, since Node 20 runs no TypeScript. */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * A folder under `.cache` that is gone with this process, so that several runs do not meet.
 * @param {string} name
 */
export function ownFolder(name) {
  const folder = `${root}.cache/${name}/`;
  mkdirSync(folder, { recursive: true });
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * @param {string} project the folder of its tsconfig.json, such as "test/chaos"
 * @param {string} folder where it goes, with all that it imports
 */
export function compileProject(project, folder) {
  const compiler = `${root}node_modules/typescript/bin/tsc`;
  const args = [compiler, "-p", `${root}${project}/tsconfig.json`, "--outDir", folder];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 120_000 });
  if (status !== 0) throw new Error(`${project} does not compile:\n${stdout}`);
}
