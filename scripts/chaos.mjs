/**
 * `npm run chaos`: builds the library and compiles test/chaos (Node 20 runs no TypeScript), then runs it.
 * `npm run chaos -- --help` says what can be asked for.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const cache = `${root}.cache/`;
const step = (args) => {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
};

if (process.env["QUORUM_LOCK_BUILT"] !== "1" || !existsSync(`${root}dist/index.js`))
  step(["scripts/build.mjs"]);
// A folder of its own, so that several runs do not meet.
const fresh = `${cache}chaos-${process.pid}/`;
mkdirSync(fresh, { recursive: true });
try {
  step([`${root}node_modules/typescript/bin/tsc`, "-p", "test/chaos/tsconfig.json", "--outDir", fresh]);
  // The scripts that bring servers look for the cache relative to themselves.
  symlinkSync("..", `${fresh}.cache`);
  const main = pathToFileURL(`${fresh}test/chaos/main.js`);
  const child = spawn(process.execPath, [fileURLToPath(main), ...process.argv.slice(2)], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, QUORUM_LOCK_DIST: pathToFileURL(`${root}dist/`).href },
  });
  // The run ends its servers and clients itself, and says what it has seen.
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
