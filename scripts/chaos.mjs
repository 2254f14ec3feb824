/**
 * `npm run chaos`: builds the library and compiles test/chaos (Node 20 runs no TypeScript), then runs it.
 * `npm run chaos -- --help` says what can be asked for.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compileHarness } from "./compile-harness.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

if (process.env["QUORUM_LOCK_BUILT"] !== "1" || !existsSync(`${root}dist/index.js`)) {
  const { status } = spawnSync(process.execPath, ["scripts/build.mjs"], { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
const main = fileURLToPath(new URL("main.js", compileHarness("test/chaos")));
const child = spawn(process.execPath, [main, ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, QUORUM_LOCK_DIST: pathToFileURL(`${root}dist/`).href },
});
// The run ends its servers and clients itself, and says what it has seen.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
process.exitCode = await new Promise((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
