/** Every adapter has its conformance test, its sample and its page, and the matrix of `npm run conformance` tells what is missing. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { adapterCapabilities, adapterNames } from "../../scripts/adapter-samples.mjs";
import { conformanceFiles, conformanceMatrix } from "../../scripts/conformance-matrix.mjs";
import { conformanceCases } from "../../src/testing/conformance.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** How the list is registered: by the cases themselves, or by what registers all of them. */
const REGISTERS = /\b(conformanceCases|describeConformance|describeAdapter|itConforms)\b/;

/** The text of a file and of all files of test/ that it imports. */
function withImports(file: string, seen = new Set<string>()): string {
  if (seen.has(file)) return "";
  seen.add(file);
  const text = readFileSync(file, "utf8");
  const imported = [...text.matchAll(/from "(\.[^"]+)"/g)]
    .map(([, path]) => resolve(dirname(file), (path ?? "").replace(/\.js$/, ".ts")))
    .filter((path) => path.startsWith(join(ROOT, "test")) && existsSync(path));
  return [text, ...imported.map((path) => withImports(path, seen))].join("\n");
}

const adapters = adapterNames();
const capabilities = await adapterCapabilities();
const locks = adapters.filter((name) =>
  capabilities.every((each) => each.adapter !== name || each.capabilities.grantsEverything !== true),
);

describe("every adapter", () => {
  it("is an entry point of the package", () => {
    const files = readdirSync(join(ROOT, "src/adapters")).filter((name) => name.endsWith(".ts"));
    expect(files.map((name) => name.replace(/\.ts$/, "")).sort()).toEqual([...adapters].sort());
    expect(adapters).toEqual(expect.arrayContaining(["redis", "memory", "noop"]));
    expect(locks).toEqual(adapters.filter((name) => name !== "noop"));
  });

  it.each(locks)("has a test that runs the conformance list over it: %s", (name) => {
    const own = conformanceFiles().filter(({ adapter }) => adapter === name);
    expect(own.length).toBeGreaterThanOrEqual(1);
    for (const { file } of own) {
      const text = withImports(join(ROOT, file));
      expect(text).toMatch(REGISTERS);
      expect(text).toMatch(new RegExp(`/src/adapters/${name}\\.js"`));
    }
  });

  it.each(adapters.filter((name) => name !== "memory"))("has a page: %s", (name) => {
    expect(existsSync(join(ROOT, `docs/adapters/${name}.md`))).toBe(true);
  });
});

describe("the matrix", () => {
  const [plain] = conformanceCases.filter(({ needs = [] }) => needs.length === 0);
  const [calling] = conformanceCases.filter(({ needs = [] }) => needs.includes("wakes"));
  const cases = [plain, calling].flatMap((each) => (each === undefined ? [] : [each]));
  const files = [
    { adapter: "a", file: "test/a/conformance.test.ts" },
    { adapter: "b", file: "test/b/conformance.test.ts" },
  ];
  const able = (adapter: string, wakes: boolean): (typeof capabilities)[number] => ({
    adapter,
    variant: "",
    capabilities: { ...(capabilities[0]?.capabilities ?? expect.fail("no adapter")), wakes },
  });
  const cells = (
    tests: readonly { adapter: string; title: string; status: string; variant?: string }[],
  ): string[] => {
    const testResults = files.map(({ adapter, file }) => ({
      name: join(ROOT, file),
      assertionResults: tests
        .filter((test) => test.adapter === adapter)
        .map(({ title, status, variant = "the list" }) => ({ title, status, ancestorTitles: [variant] })),
    }));
    const matrix = conformanceMatrix({
      cases,
      files,
      results: { testResults },
      capabilities: [able("a", true), able("b", false)],
    });
    expect(matrix.adapters).toEqual(["a", "b"]);
    return matrix.rows.flatMap((row) => row.cells.map(({ kind, why }) => `${kind} ${why}`.trim()));
  };
  const [first = "", second = ""] = cases.map(({ name }) => name);

  it("tells what passed, and what cannot be asked for and why", () => {
    const all = [first, second].map((title) => ({ adapter: "a", title, status: "passed" }));
    expect(cells([...all, { adapter: "b", title: first, status: "passed" }])).toEqual([
      "pass",
      "pass",
      "pass",
      "n/a needs wakes",
    ]);
  });

  it("tells what failed, in whatever variant, and what did not run though it should", () => {
    const tests = [
      { adapter: "a", title: first, status: "passed" },
      { adapter: "a", title: first, status: "failed", variant: "durable" },
      { adapter: "a", title: second, status: "skipped" },
    ];
    expect(cells(tests)).toEqual([
      "fail durable",
      "not run no test of that name ran",
      "not run no test of that name ran",
      "n/a needs wakes",
    ]);
  });

  it("knows titles that vitest has shortened", () => {
    const [short, long] = [`'${first.slice(0, 30)}…'`, `'${first.slice(0, 10)}…'`];
    expect(cells([{ adapter: "a", title: short, status: "passed" }])[0]).toBe("pass");
    expect(cells([{ adapter: "a", title: long, status: "passed" }])[0]).toMatch(/^not run/);
  });

  it("has no two cases that a shortened title could be", () => {
    const starts = conformanceCases.map(({ name }) => name.slice(0, 36));
    expect(starts.filter((start, i) => starts.indexOf(start) !== i)).toEqual([]);
  });
});
