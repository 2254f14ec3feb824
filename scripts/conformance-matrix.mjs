/** The matrix adapters × conformance cases, read off the results of the tests; see conformance.mjs. */
import { existsSync, readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Where the list is run whose folder is not named after the adapter. */
const ELSEWHERE = {
  "test/conformance/memory.test.ts": "memory",
  "test/examples/object-store.test.ts": "(example)",
};

/** The test files that run the list, each with its adapter: `test/<adapter>/conformance*.test.ts`, and some more. */
export function conformanceFiles() {
  const found = readdirSync(join(ROOT, "test"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== "conformance")
    .flatMap(({ name }) =>
      readdirSync(join(ROOT, "test", name))
        .filter((file) => /^conformance.*\.test\.ts$/.test(file))
        .map((file) => ({ adapter: name, file: `test/${name}/${file}` })),
    );
  const more = Object.entries(ELSEWHERE)
    .filter(([file]) => existsSync(join(ROOT, file)))
    .map(([file, adapter]) => ({ adapter, file }));
  return [...found, ...more].sort((a, b) => (a.adapter < b.adapter ? -1 : 1));
}

/**
 * For each case and adapter "pass", "fail" (in any variant), "not run", or "n/a" with why. `results` are those of
 * vitest's JSON reporter; `capabilities` those of the adapters' variants.
 */
export function conformanceMatrix({ cases, files, results, capabilities }) {
  const adapters = [...new Set(files.map(({ adapter }) => adapter))];
  const adapterOf = (path) => {
    const file = relative(ROOT, path).split(sep).join("/");
    return files.find((each) => each.file === file)?.adapter;
  };
  const tests = results.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map((test) => ({ ...test, adapter: adapterOf(name) })),
  );
  const cell = (oneCase, adapter) => {
    const ran = tests.filter(
      (test) => test.adapter === adapter && isTitle(test.title, oneCase.name) && test.status !== "skipped",
    );
    const failures = ran.filter(({ status }) => status !== "passed");
    if (failures.length > 0) {
      return {
        kind: "fail",
        why: failures.map(({ ancestorTitles }) => ancestorTitles.join(" > ")).join("; "),
      };
    }
    if (ran.length > 0) return { kind: "pass", why: "" };
    const lacking = (oneCase.needs ?? []).filter((need) =>
      capabilities
        .filter((each) => each.adapter === adapter)
        .every((each) => !offers(each.capabilities, need)),
    );
    return lacking.length > 0
      ? { kind: "n/a", why: `needs ${lacking.join(", ")}` }
      : { kind: "not run", why: "no test of that name ran" };
  };
  return {
    adapters,
    rows: cases.map((oneCase) => ({
      name: oneCase.name,
      cells: adapters.map((adapter) => cell(oneCase, adapter)),
    })),
  };
}

/** Vitest quotes and shortens a title that it takes from a table. */
function isTitle(title, name) {
  if (title === name) return true;
  const [, start] = /^'?(.{20,})…'?$/.exec(title) ?? [];
  return start !== undefined && name.startsWith(start);
}

/** Whether an adapter may be asked for it, by what it declares. What only a test can know counts as offered by nobody. */
function offers(capabilities, need) {
  switch (need) {
    case "volatile":
      return !capabilities.durable;
    case "durable":
      return capabilities.durable;
    case "lists":
      return capabilities.lists;
    case "wakes":
      return capabilities.wakes === true;
    // Of the store: whether it has a clock to move proposals by, and whether others use it.
    case "clamps":
    case "alone":
      return false;
    default:
      return true;
  }
}
