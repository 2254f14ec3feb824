/**
 * `npm run bench`: this library beside its peers, over servers of its own, everything in one run and in turns. Writes
 * docs/benchmarks.md and its plots. `--long` takes an hour. `--quick` looks at whether it works and writes nothing; `--only CASE` (repeatable) runs some cases,
 * prints, and writes nothing.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { format } from "prettier";
import { contention, outvoted } from "./cases/contention.mjs";
import { faults } from "./cases/faults.mjs";
import { outsideNode } from "./cases/outside-node.mjs";
import { heldLeases, lossSignal, recovery } from "./cases/own.mjs";
import { stores } from "./cases/stores.mjs";
import { uncontended } from "./cases/uncontended.mjs";
import { micro } from "./micro.mjs";
import { planOf } from "./plan.mjs";
import { page, plots } from "./report.mjs";
import { startServers } from "./servers.mjs";

const CASES = {
  uncontended,
  contention,
  outvoted,
  heldLeases,
  // A server that was killed does not vote for a minute afterwards.
  faults,
  lossSignal,
  recovery,
  stores,
  go: outsideNode,
  micro: (plan) => micro({ seconds: plan.microSeconds }),
};

const { values } = parseArgs({
  options: {
    quick: { type: "boolean" },
    long: { type: "boolean" },
    only: { type: "string", multiple: true },
  },
});
const only = values.only ?? Object.keys(CASES);
for (const name of only) {
  if (!Object.hasOwn(CASES, name)) {
    console.error(`--only must be one of ${Object.keys(CASES).join(", ")}; got ${name}`);
    process.exit(64);
  }
}
const plan = planOf(values);
const [load = 0] = loadavg();
const servers = await startServers(Math.max(...plan.sizes, 3));
const results = {};
try {
  for (const name of only) results[name] = await CASES[name](plan, servers);
} finally {
  await servers.stop();
}
const run = { serverVersion: servers.version, rounds: plan.rounds, load };
const text = await format(page(results, run), { parser: "markdown", printWidth: 110 });
console.log(text);
if (values.quick !== true && values.only === undefined) {
  const docs = (path) => fileURLToPath(new URL(`../docs/${path}`, import.meta.url));
  mkdirSync(docs("benchmarks"), { recursive: true });
  for (const [name, svg] of Object.entries(plots(results))) writeFileSync(docs(`benchmarks/${name}`), svg);
  writeFileSync(docs("benchmarks.md"), text);
}
process.exit(0);
