/** The mutants of the engine that live, and the reasons why, as they are kept. The run itself is `npm run mutation`. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  compare,
  nameOf,
  oneLine,
  summarize,
  type Counts,
  type Report,
  type Survivor,
} from "../../scripts/mutation-survivors.mjs";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
const figures = JSON.parse(read("figures.json")) as {
  readonly files: Readonly<Record<string, Counts>>;
  readonly survivors: readonly Survivor[];
};
const reasons = JSON.parse(read("reasons.json")) as readonly (Survivor & { readonly why: string })[];

/** A report of one file, in which `10 > 9` was made `10 >= 9` and lived, and something else was killed. */
const SOURCE = "export const a = 1;\n\nfunction f(): boolean {\n  return 10 > 9;\n}\n";
const location = { start: { line: 4, column: 10 }, end: { line: 4, column: 16 } };
function report(status: string): Report {
  const mutants = [
    { status, replacement: "10 >= 9", location },
    { status: "Killed", replacement: "false", location },
  ];
  return { files: { "src/engine/f.ts": { source: SOURCE, mutants } } };
}
const LIVING = {
  file: "src/engine/f.ts",
  in: "f",
  before: "return 10 > 9;",
  after: "return 10 >= 9;",
};

describe("the summary of a report", () => {
  it("counts per file, and tells what lives by its function and its text", () => {
    expect(summarize(report("Survived"))).toEqual({
      files: { "src/engine/f.ts": { killed: 1, timeout: 0, survived: 1, noCoverage: 0 } },
      survivors: [LIVING],
    });
    expect(summarize(report("NoCoverage")).survivors).toEqual([LIVING]);
    expect(summarize(report("Timeout")).survivors).toEqual([]);
  });

  it("is not made of a run that did not decide about every mutant", () => {
    expect(() => summarize(report("Pending"))).toThrow("Pending");
    expect(() => summarize(report("RuntimeError"))).toThrow("RuntimeError");
  });
});

describe("reasons", () => {
  it("are missing for what lives without one, and superfluous for what does not live", () => {
    const name = nameOf(LIVING);
    expect(compare([LIVING], [])).toEqual({ unexplained: [name], superfluous: [] });
    expect(compare([], [LIVING])).toEqual({ unexplained: [], superfluous: [name] });
    expect(compare([LIVING], [LIVING])).toEqual({ unexplained: [], superfluous: [] });
  });

  it("are kept for every mutant that lives, and for no other", () => {
    expect(compare(figures.survivors, reasons)).toEqual({ unexplained: [], superfluous: [] });
    for (const { why } of reasons) expect(why.length).toBeGreaterThan(20);
  });

  it("are about code that is still there", () => {
    for (const reason of reasons) {
      const source = oneLine(read(`../../${reason.file}`));
      expect(source, nameOf(reason)).toContain(reason.before);
    }
  });
});

describe("the figures", () => {
  it("count each mutant that lives, in files that are there", () => {
    const files = Object.keys(figures.files);
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) expect(read(`../../${file}`)).not.toBe("");
    const lived = Object.values(figures.files).reduce(
      (sum, { survived, noCoverage }) => sum + survived + noCoverage,
      0,
    );
    expect(figures.survivors).toHaveLength(lived);
  });
});
