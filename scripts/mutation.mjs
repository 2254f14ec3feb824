/**
 * `npm run mutation`: runs Stryker over the engine, keeps what it found in `test/mutation/figures.json` for
 * `docs/mutation.md`, and fails when a mutant lives without a reason in `test/mutation/reasons.json`, or when a reason
 * is given for one that does not live. `--changed` runs again only what new tests, known by their names, and changed
 * lines of the engine concern; `--report` runs nothing and reads the last report.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format } from "prettier";
import { compare, summarize } from "./mutation-survivors.mjs";

const root = fileURLToPath(new URL("../", import.meta.url));
const read = (path) => JSON.parse(readFileSync(`${root}${path}`, "utf8"));
const FIGURES = "test/mutation/figures.json";

if (!process.argv.includes("--report")) {
  const stryker = `${root}node_modules/@stryker-mutator/core/bin/stryker.js`;
  // The file of the last run is written anew in any case.
  const how = process.argv.includes("--changed") ? [] : ["--force"];
  const args = [stryker, "run", "--incremental", ...how];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

const { files, survivors } = summarize(read(".cache/mutation/report.json"));
const date = new Date().toISOString().slice(0, 10);
const text = await format(JSON.stringify({ date, files, survivors }), { parser: "json", printWidth: 110 });
writeFileSync(`${root}${FIGURES}`, text);
const { unexplained, superfluous } = compare(survivors, read("test/mutation/reasons.json"));
for (const name of unexplained) console.error(`lives for no stated reason: ${name}`);
for (const name of superfluous) console.error(`does not live, but has a reason: ${name}`);
console.log(`${survivors.length} mutants live; ${FIGURES} is written. Next: node scripts/docs.mjs`);
process.exit(unexplained.length + superfluous.length === 0 ? 0 : 1);
