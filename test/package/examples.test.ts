import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { install, root, type Installed } from "./installed.ts";

/** What needs a server is run by the tests of its adapter. */
const SERVED = /\b(ioredis|etcd3|memjs|mysql2)\b|"pg"/;

/** The fenced blocks of a page in one of these languages, with the line on which each starts. */
function blocks(page: string, languages: readonly string[]): readonly { name: string; code: string }[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, language]) => languages.includes(language ?? ""))
    .map((match) => ({
      name: `${page}:${text.slice(0, match.index).split("\n").length}`,
      code: match[2] ?? "",
    }));
}

function pages(): readonly string[] {
  const docs = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" });
  return ["README.md", ...docs.filter((file) => file.endsWith(".md")).map((file) => `docs/${file}`)];
}

function sources(): readonly string[] {
  return readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => `src/${file}`);
}

/** The examples in the comments of a source file. */
function commentExamples(file: string): readonly { name: string; code: string }[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/@example\n \* ```ts\n([\s\S]*?) \* ```/g)].map((match) => ({
    name: `${file}:${text.slice(0, match.index).split("\n").length}`,
    code: (match[1] ?? "").replaceAll(/^ \* ?/gm, ""),
  }));
}

describe("examples", () => {
  let project: Installed;
  beforeAll(async () => {
    project = await install([
      "typescript",
      "@types/node",
      "undici-types",
      "ioredis",
      "redis",
      "@redis/bloom",
      "@redis/client",
      "@redis/json",
      "@redis/search",
      "@redis/time-series",
      "etcd3",
      "memjs",
      "@types/memjs",
      "pg",
      "@types/pg",
      "mysql2",
      "libsql",
      "mongodb",
      "node-zookeeper-client",
      "@types/node-zookeeper-client",
    ]);
  });
  afterAll(() => project.remove());

  const embedded = pages().flatMap((page) => blocks(page, ["js"]).filter(({ code }) => !SERVED.test(code)));
  const typed = [...pages().flatMap((page) => blocks(page, ["ts"])), ...sources().flatMap(commentExamples)];

  test("are found where they are expected", () => {
    expect(embedded.length).toBeGreaterThanOrEqual(1);
    expect(typed.length).toBeGreaterThanOrEqual(6);
  });

  test.each(embedded)("$name runs as it stands", async ({ code }) => {
    await project.write("example.mjs", code);
    expect(await project.run(process.execPath, ["example.mjs"])).not.toBe("");
  });

  test("in TypeScript compile, each as a module of its own", async () => {
    const files = await Promise.all(
      typed.map(async ({ name, code }, i) => {
        const file = `example-${i}.mts`;
        const declared = code.includes("makeContext") ? DECLARED : "";
        await project.write(file, `// ${name}\n${declared}${code}\nexport {};\n`);
        return file;
      }),
    );
    await project.tsc([
      "--module",
      "nodenext",
      "--target",
      "es2023",
      "--strict",
      "--noEmit",
      "--types",
      "node",
      ...files,
    ]);
  });

  test("of the operations page run, and say what their comments say", async () => {
    const seen = blocks("docs/operations.md", ["js"])[0]?.code ?? "";
    await project.write("see.mjs", seen);
    const said = await project.run(process.execPath, ["see.mjs"]);
    expect(said).toMatch(/^held \d+n \d+\n(memory-\d locked\n){3}report:2026-11 held\ntrue\n$/);
    const [repair, handOver] = blocks("docs/operations.md", ["ts"]);
    await project.write("repair.mts", repair?.code ?? "");
    await project.write("hand-over.mts", handOver?.code ?? "");
    await project.tsc([
      "--module",
      "nodenext",
      "--target",
      "es2023",
      "--types",
      "node",
      "repair.mts",
      "hand-over.mts",
    ]);
    expect(await project.run(process.execPath, ["repair.mjs"])).toMatch(
      /^false \[[\s\S]*b does not vote for \d+ ms\n$/,
    );
    expect(await project.run(process.execPath, ["hand-over.mjs"])).toBe("true\n");
  });

  test("of the fencing page refuses the stale write when it is run", async () => {
    const page = blocks("docs/fencing.md", ["ts"])[0]?.code ?? "";
    await project.write("fencing.mts", page);
    await project.tsc(["--module", "nodenext", "--target", "es2023", "--types", "node", "fencing.mts"]);
    expect(await project.run(process.execPath, ["fencing.mjs"])).toMatch(
      /^refused: token \d+, the resource has seen \d+\n$/,
    );
  });
});

/** What the example of the conformance list leaves to its reader. */
const DECLARED = `declare function makeContext(): Promise<import("quorum-lock/testing").ConformanceContext>;\n`;
