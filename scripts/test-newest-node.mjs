/** Runs the tests that need no server, and the demo of the built package, on the newest Node that npm offers. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { newestNode } from "./newest-node.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { version, path } = await newestNode();
console.log(`Node ${version}:`);
for (const args of [
  ["scripts/build.mjs"],
  ["dist/cli/main.js", "demo", "--fast"],
  ["node_modules/vitest/vitest.mjs", "run", "--project", "pure"],
]) {
  const { status } = spawnSync(path, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
