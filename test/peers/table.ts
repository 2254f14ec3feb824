/** The table "Beside others" of the README, read. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** The columns, in their order. */
export const LIBRARIES = [
  "quorum-lock",
  "redlock",
  "@sesamecare-oss/redlock",
  "redlock-universal",
  "redis-semaphore",
] as const;

export type Library = (typeof LIBRARIES)[number];

export interface Cell {
  readonly text: string;
  /** The file it links to by reference, from the root of the repository; undefined where it links to none. */
  readonly file: string | undefined;
}

export interface Table {
  readonly head: readonly string[];
  readonly rows: ReadonlyMap<string, readonly Cell[]>;
}

export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

/** The installed version. */
export function versionOf(library: Library): string {
  const path =
    library === "quorum-lock" ? `${ROOT}package.json` : `${ROOT}node_modules/${library}/package.json`;
  const { version } = createRequire(import.meta.url)(path) as { version: string };
  // Redlock's own says "v5.0.0-beta.2".
  return version.replace(/^v/, "");
}

export function readTable(): Table {
  const readme = readFileSync(`${ROOT}README.md`, "utf8");
  const section = /^## Beside others$([\s\S]*?)^## /m.exec(readme)?.[1] ?? "";
  const links = new Map(
    [...section.matchAll(/^\[(.+)\]: (\S+)$/gm)].map(([, name = "", file]) => [name, file]),
  );
  const cell = (markdown: string): Cell => {
    const [, text = markdown, link = ""] = /^\[(.*)\]\[(.*)\]$/.exec(markdown) ?? [];
    return { text, file: links.get(link) };
  };
  const [head, , ...rows] = section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  if (head === undefined || rows.length === 0)
    throw new Error("no table under `## Beside others` in README.md");
  return { head: head.slice(1), rows: new Map(rows.map(([name = "", ...cells]) => [name, cells.map(cell)])) };
}

/** What the README says of one library in one row; undefined where it says nothing. */
export function cellOf(row: string, library: Library): Cell | undefined {
  return readTable().rows.get(row)?.[LIBRARIES.indexOf(library)];
}
