/**
 * Runs the tests that need no server, and the demo of the built package, on the newest Node that npm offers. Of the simulation it compares
 * the traces with those of this Node: where they are the same, running all worlds again would show nothing.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { compileSim } from "./compile-sim.mjs";
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

const sim = fileURLToPath(new URL("main.js", compileSim()));
const hash = (node) => {
  const script = `const { main } = await import(${JSON.stringify(sim)}); process.exit(await main(["--hash", "--seeds", "5", "--profile", "all"]));`;
  const { status, stdout } = spawnSync(node, ["--input-type=module", "-e", script], {
    cwd: root,
    encoding: "utf8",
  });
  if (status !== 0) process.exit(status ?? 1);
  return stdout.trim();
};
const [here, there] = [hash(process.execPath), hash(path)];
console.log(
  `Traces of simulated worlds: ${here} on Node ${process.versions.node}, ${there} on Node ${version}`,
);
if (here !== there) {
  console.error("The same seeds gave different traces on the two versions of Node.");
  process.exit(1);
}
