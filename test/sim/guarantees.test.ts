/**
 * The table in `docs/guarantees.md` that says which checker and which mutant guards which sentence, against the code: it
 * names all of them, nothing else, and no mutant beside a checker that does not have to see it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { CHECKERS } from "./checkers/all.js";
import { MUTANTS } from "./mutants.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface GuardedSentence {
  readonly sentence: string;
  readonly checkers: readonly string[];
  readonly mutants: readonly string[];
  readonly tests: readonly string[];
}

function names(cell: string | undefined): readonly string[] {
  return (cell ?? "")
    .split(";")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

function guardedSentences(): readonly GuardedSentence[] {
  const page = readFileSync(`${ROOT}docs/guarantees.md`, "utf8");
  const [, table] = /<!-- guarded sentences -->\n([\s\S]*?)\n<!-- end -->/.exec(page) ?? [];
  const rows = (table ?? "").split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) => {
    const [, sentence, checkers, mutants, tests] = row.split("|");
    return {
      sentence: (sentence ?? "").trim(),
      checkers: names(checkers),
      mutants: names(mutants),
      tests: [...(tests ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ""),
    };
  });
}

const SENTENCES = guardedSentences();

describe("the table of what guards each sentence", () => {
  it("names every checker, and no other", () => {
    const named = new Set(SENTENCES.flatMap(({ checkers }) => checkers));
    expect([...named].sort()).toEqual(Object.keys(CHECKERS).sort());
  });

  it("names every mutant once, and no other", () => {
    const named = SENTENCES.flatMap(({ mutants }) => mutants);
    expect([...named].sort()).toEqual(MUTANTS.map(({ name }) => name).sort());
  });

  it("puts each mutant beside a checker that has to see it", () => {
    const seenBy = new Map(MUTANTS.map((mutant) => [mutant.name, mutant.seenBy]));
    for (const { sentence, checkers, mutants } of SENTENCES) {
      for (const name of mutants) {
        const shared = seenBy.get(name)?.filter((checker) => checkers.includes(checker)) ?? [];
        expect(shared, `${name}, beside "${sentence}"`).not.toEqual([]);
      }
    }
  });

  it("names a test for each sentence, and each of them exists", () => {
    for (const { sentence, tests } of SENTENCES) {
      expect(tests, sentence).not.toEqual([]);
      for (const test of tests) expect(existsSync(ROOT + test), test).toBe(true);
    }
  });

  it("leads to headings that exist", () => {
    const page = readFileSync(`${ROOT}docs/protocol.md`, "utf8");
    const anchors = [...page.matchAll(/^#+ (.*)$/gm)].map((match) => anchorOf(match[1] ?? ""));
    const links = SENTENCES.flatMap(({ sentence }) =>
      [...sentence.matchAll(/protocol\.md#([^)]+)\)/g)].map((match) => match[1]),
    );
    expect(links.length).toBeGreaterThanOrEqual(12);
    for (const link of links) expect(anchors).toContain(link);
  });
});

/** As GitHub makes it of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} -]/gu, "")
    .replaceAll(" ", "-");
}
