import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { LIBRARIES, readTable, ROOT, versionOf } from "./table.ts";

const FOLDER = "test/peers/";
const table = readTable();
const files = readdirSync(`${ROOT}${FOLDER}`).filter(
  (file) => file.endsWith(".test.ts") && file !== "table.test.ts",
);

function rowOf(file: string): string | undefined {
  return /^await row\("(.*)", \{$/m.exec(readFileSync(`${ROOT}${FOLDER}${file}`, "utf8"))?.[1];
}

describe("the table beside others", () => {
  test("names the versions that are installed", () => {
    expect(table.head).toEqual(LIBRARIES.map((library) => `${library} ${versionOf(library)}`));
  });

  test("has a row for every file here, and a file for every row", () => {
    expect([...table.rows.keys()].sort()).toEqual(files.map(rowOf).sort());
  });

  for (const [row, cells] of table.rows) {
    test(`links every cell of "${row}" to the test that shows it`, () => {
      expect(cells).toHaveLength(LIBRARIES.length);
      for (const { text, file = "nothing" } of cells) {
        expect(existsSync(`${ROOT}${file}`), `"${text}" links to ${file}`).toBe(true);
        expect(file.startsWith(FOLDER) && rowOf(file.slice(FOLDER.length))).toBe(row);
      }
    });
  }
});
