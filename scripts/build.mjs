/** Builds dist/ from src/ anew. Built beside and swapped in, so that whoever runs dist/ meanwhile keeps a whole one. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const cache = `${root}.cache/build-${process.pid}`;
mkdirSync(cache, { recursive: true });
try {
  const compiler = [`${root}node_modules/typescript/bin/tsc`, "-p", `${root}tsconfig.build.json`];
  const { status } = spawnSync(process.execPath, [...compiler, "--outDir", `${cache}/dist`], {
    stdio: "inherit",
  });
  if (status !== 0) process.exit(status ?? 1);
  chmodSync(`${cache}/dist/cli/main.js`, 0o755);
  try {
    renameSync(`${root}dist`, `${cache}/before`);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  renameSync(`${cache}/dist`, `${root}dist`);
} finally {
  rmSync(cache, { recursive: true, force: true });
}
