/**
 * Compiles the simulation and the production code that it runs into a folder of this process, since Node 20 runs no
 * TypeScript and since mutants are planted in compiled text. Returns the folder of the compiled `test/sim`.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);

/** @returns {URL} */
export function compileSim() {
  const folder = new URL(`.cache/sim/${process.pid}/`, root);
  mkdirSync(folder, { recursive: true });
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const base = new URL("base/", folder);
  const compiler = fileURLToPath(new URL("node_modules/typescript/bin/tsc", root));
  const project = fileURLToPath(new URL("test/sim/tsconfig.json", root));
  const args = [compiler, "-p", project, "--outDir", fileURLToPath(base)];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 120_000 });
  if (status !== 0) throw new Error(`the simulation does not compile:\n${stdout}`);
  return new URL("test/sim/", base);
}
