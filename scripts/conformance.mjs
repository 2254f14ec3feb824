/**
 * `npm run conformance [adapter …]`: runs the conformance list over every adapter's real server, and prints adapters × cases.
 * Exits 1 when a case failed, or did not run though its adapter declares what the case needs.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { conformanceCases } from "../dist/testing/index.js";
import { adapterCapabilities } from "./adapter-samples.mjs";
import { conformanceFiles, conformanceMatrix } from "./conformance-matrix.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SIGNS = { pass: "✓", fail: "✗", "n/a": "–", "not run": "?" };

const wanted = process.argv.slice(2);
const all = conformanceFiles();
const unknown = wanted.filter((name) => !all.some(({ adapter }) => adapter === name));
if (unknown.length > 0) {
  console.error(
    `no conformance test of ${unknown.join(", ")}; there are ${[...new Set(all.map(({ adapter }) => adapter))].join(", ")}`,
  );
  process.exit(2);
}
const files = all.filter(({ adapter }) => wanted.length === 0 || wanted.includes(adapter));

const folder = mkdtempSync(join(tmpdir(), "quorum-lock-conformance-"));
let results;
try {
  const outputFile = join(folder, "results.json");
  const vitest = join(ROOT, "node_modules/vitest/vitest.mjs");
  const args = [vitest, "run", "--reporter=dot", "--reporter=json", `--outputFile.json=${outputFile}`];
  spawnSync(process.execPath, [...args, ...files.map(({ file }) => file)], {
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
    env: { ...process.env, QUORUM_LOCK_BUILT: "1" },
  });
  results = JSON.parse(readFileSync(outputFile, "utf8"));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const capabilities = await adapterCapabilities();
const { adapters, rows } = conformanceMatrix({ cases: conformanceCases, files, results, capabilities });
const widths = adapters.map((name) => name.length + 2);
const line = (cells, name) =>
  console.log(`${cells.map((cell, i) => cell.padEnd(widths[i])).join("")}${name}`);
line(adapters, "case");
for (const { name, cells } of rows) {
  line(
    cells.map(({ kind }) => SIGNS[kind]),
    name,
  );
}
console.log("\n✓ pass   ✗ fail   – not applicable   ? not run");
for (const [i, adapter] of adapters.entries()) {
  const of = (kind) => rows.filter(({ cells }) => cells[i].kind === kind);
  const why = [...new Set(of("n/a").map(({ cells }) => cells[i].why))];
  const counts = `${of("pass").length} pass, ${of("n/a").length} not applicable${why.length > 0 ? ` (${why.join("; ")})` : ""}`;
  console.log(`${adapter}: ${counts}, ${of("fail").length} fail, ${of("not run").length} not run`);
  for (const kind of ["fail", "not run"]) {
    for (const { name, cells } of of(kind)) console.log(`  ${kind}: ${name}: ${cells[i].why}`);
  }
}
const bad = rows.some(({ cells }) => cells.some(({ kind }) => kind === "fail" || kind === "not run"));
process.exit(bad ? 1 : 0);
