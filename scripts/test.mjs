/**
 * `npm test`: brings the real servers that tests need, says where they come from, and runs every test.
 * Arguments go to vitest: `npm test -- test/redis`.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { isCi } from "./servers.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const run = (args) => spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" }).status ?? 1;

console.log("Bringing the servers that the tests need (once; they stay in .cache/servers):");
const servers = run(["scripts/servers.mjs"]);
if (servers !== 0 && isCi()) process.exit(servers);
if (servers !== 0)
  console.log("Tests of a server that is missing are skipped, each with a line that says so.");

console.log("\nRunning all tests:");
process.exit(run(["node_modules/vitest/vitest.mjs", "run", ...process.argv.slice(2)]));
