/**
 * Who may import whom, as `docs/architecture.md` says, read off the import lines. The compiler, which knows more, is
 * asked too: `src/engine/tsconfig.json` gives the engine no types but the language's own.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SRC = join(ROOT, "src");
/** Fewer would mean that this test reads the wrong folder. */
const FILES_MIN = 35;

interface Import {
  /** Without an extension, from src/; or the name of a package. */
  readonly of: string;
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
}

interface Source {
  /** From src/, without an extension. */
  readonly path: string;
  readonly text: string;
  /** The text without comments. */
  readonly code: string;
  readonly imports: readonly Import[];
}

function read(): readonly Source[] {
  return readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => {
      const path = name.replace(/\.ts$/, "").replaceAll("\\", "/");
      const text = readFileSync(join(SRC, name), "utf8");
      const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
      return { path, text, code, imports: importsOf(path, code) };
    });
}

const STATIC = /^(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm;
const DYNAMIC = /\bimport\(\s*"([^"]+)"\s*\)/g;

function importsOf(path: string, code: string): readonly Import[] {
  const resolve = (specifier: string): string =>
    specifier.startsWith(".")
      ? relative(SRC, join(SRC, dirname(path), specifier))
          .replace(/\.js$/, "")
          .replaceAll("\\", "/")
      : specifier;
  const found: Import[] = [];
  for (const [, type, specifier] of code.matchAll(STATIC)) {
    found.push({ of: resolve(specifier ?? ""), typeOnly: type !== undefined, dynamic: false });
  }
  for (const [, specifier] of code.matchAll(DYNAMIC)) {
    found.push({ of: resolve(specifier ?? ""), typeOnly: false, dynamic: true });
  }
  return found;
}

const sources = read();
const CLIENTS =
  /^(ioredis|redis|pg|mysql2|mongodb|etcd3|memjs|libsql|better-sqlite3|node-zookeeper-client|pino|yaml)(\/|$)/;
/** Who makes clients from URLs. */
const OPENS_CLIENTS = /^(cli|config)\//;
/** What adapters share; no adapter itself. */
const SHARED_BY_ADAPTERS = /^adapters\/shared\//;

/** The row of the table that a file belongs to, and what files of that row may import from src/. */
const RULES: readonly {
  readonly row: string;
  readonly of: RegExp;
  readonly may: RegExp;
  readonly types?: RegExp;
}[] = [
  { row: "engine/", of: /^engine\//, may: /^engine\// },
  { row: "backend.ts", of: /^backend$/, may: /^$/, types: /^engine\// },
  { row: "errors.ts", of: /^errors$/, may: /^$/, types: /^engine\// },
  { row: "options.ts", of: /^options$/, may: /^(engine\/|errors$)/, types: /^(engine\/|backend$)/ },
  { row: "lock/", of: /^lock\//, may: /^(lock\/|engine\/|errors$|options$)/, types: /^backend$/ },
  {
    row: "shard/",
    of: /^shard\//,
    may: /^(shard\/|errors$|options$)/,
    types: /^lock\/(lease|locker)$/,
  },
  { row: "guard/", of: /^guard\//, may: /^(guard\/|engine\/token$|errors$)/ },
  {
    row: "adapters/",
    of: /^adapters\//,
    may: /^(errors$|engine\/(token|record|mark|line)$|adapters\/)/,
    types: /^(backend$|engine\/)/,
  },
  {
    row: "adapter.ts",
    of: /^adapter$/,
    may: /^(engine\/(record|line)$|adapters\/shared\/)/,
    types: /^(backend$|engine\/)/,
  },
  {
    row: "testing/",
    of: /^testing(\/|$)/,
    may: /^(testing\/|errors$|engine\/(time|token)$)/,
    types: /^backend$/,
  },
  {
    row: "index.ts",
    of: /^index$/,
    may: /^(errors|options|lock\/locker|guard\/in-process|shard\/(shards|both-locks))$/,
    types: /./,
  },
  {
    row: "config/",
    of: /^config\//,
    may: /^(config\/|adapters\/|errors$|options$|engine\/quorum$)/,
    types: /^backend$/,
  },
  { row: "cli/", of: /^cli\//, may: /./ },
];

describe("the import rules of the architecture", () => {
  it("are checked on all of src/", () => {
    expect(sources.length).toBeGreaterThanOrEqual(FILES_MIN);
    expect(sources.flatMap(({ imports }) => imports).length).toBeGreaterThan(100);
    for (const folder of ["engine/round", "lock/locker", "adapters/redis", "adapters/memory", "index"]) {
      expect(sources.map(({ path }) => path)).toContain(folder);
    }
  });

  it("have a row for every file", () => {
    const homeless = sources.filter(({ path }) => RULES.filter(({ of }) => of.test(path)).length !== 1);
    expect(homeless.map(({ path }) => path)).toEqual([]);
  });

  it.each(RULES)("hold for $row", ({ of, may, types }) => {
    const wrong = sources
      .filter(({ path }) => of.test(path))
      .flatMap(({ path, imports }) =>
        imports
          .filter(
            (each) => /^[a-z]+(\/|$)/.test(each.of) && sources.some((source) => source.path === each.of),
          )
          .filter((each) => !may.test(each.of) && !(each.typeOnly && types?.test(each.of) === true))
          .map((each) => `${path} imports ${each.of}${each.typeOnly ? " (types)" : ""}`),
      );
    expect(wrong).toEqual([]);
  });

  it("let nobody import a file that is not there", () => {
    const missing = sources.flatMap(({ path, text, imports }) =>
      [...imports]
        .filter(({ of }) => !CLIENTS.test(of) && text.includes(`/${of.split("/").at(-1)}.js"`))
        .filter(({ of }) => !sources.some((source) => source.path === of))
        .map(({ of }) => `${path} imports ${of}`),
    );
    expect(missing).toEqual([]);
  });

  it("let the engine import nothing outside of its folder", () => {
    const outside = sources
      .filter(({ path }) => path.startsWith("engine/"))
      .flatMap(({ path, imports }) => imports.map(({ of }) => ({ path, of })))
      .filter(({ of }) => !of.startsWith("engine/"));
    expect(outside).toEqual([]);
  });

  it("let no file but configuration and command line import a client, except its types in its own adapter", () => {
    const wrong = sources
      .filter(({ path }) => !OPENS_CLIENTS.test(path))
      .flatMap(({ path, imports }) => imports.map((each) => ({ path, ...each })))
      .filter(({ path, of, typeOnly }) => CLIENTS.test(of) && !(typeOnly && path.startsWith("adapters/")));
    expect(wrong).toEqual([]);
  });

  it("let configuration and command line load adapters and clients only when they are needed", () => {
    const wrong = sources
      .filter(({ path }) => OPENS_CLIENTS.test(path))
      .flatMap(({ path, imports }) => imports.map((each) => ({ path, ...each })))
      .filter(
        ({ of, typeOnly, dynamic }) =>
          !typeOnly &&
          !dynamic &&
          (CLIENTS.test(of) || (of.startsWith("adapters/") && of !== "adapters/memory")),
      );
    expect(wrong).toEqual([]);
  });

  it("let no adapter import another", () => {
    const wrong = sources
      .filter(({ path }) => path.startsWith("adapters/"))
      .flatMap(({ path, imports }) => imports.map(({ of }) => ({ path, of })))
      .filter(({ of }) => of.startsWith("adapters/") && !SHARED_BY_ADAPTERS.test(of))
      .filter(({ path, of }) => path.split("/")[1] !== of.split("/")[1]);
    expect(wrong).toEqual([]);
  });
});

describe("the rules of style that can be read off the text", () => {
  it("no bare Error is thrown", () => {
    const wrong = sources.filter(({ code }) => /\b(throw|reject\()\s*new (Type|Range)?Error\(/.test(code));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it("the engine has no clock, no randomness, no timers and no promises", () => {
    const impure =
      /\b(Date|Math\.random|setTimeout|setInterval|setImmediate|performance|process|Promise|async|await|crypto)\b/;
    const wrong = sources.filter(({ path, code }) => path.startsWith("engine/") && impure.test(code));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it("one file of the locker touches the process's clocks, timers and randomness", () => {
    const impure =
      /\b(Date\.now|new Date|Math\.random|setTimeout|setInterval|performance\.now|node:crypto|node:os)\b/;
    const wrong = sources.filter(({ path, code }) => path.startsWith("lock/") && impure.test(code));
    // events.ts hashes owners, which needs no randomness.
    expect(wrong.map(({ path }) => path).sort()).toEqual(["lock/events", "lock/system"]);
  });
});

describe("importing the package", () => {
  it.each([
    "index.js",
    "adapters/redis.js",
    "adapters/postgres.js",
    "adapters/mysql.js",
    "adapters/sqlite.js",
    "adapters/consul.js",
    "adapters/zookeeper.js",
    "adapters/mongodb.js",
    "adapters/memory.js",
    "adapters/noop.js",
    "adapter.js",
    "testing/index.js",
    "config/index.js",
  ])("loads no client: dist/%s", (entry) => {
    // In a place without node_modules every import of a package fails.
    const empty = mkdtempSync(join(tmpdir(), "quorum-lock-alone-"));
    try {
      cpSync(join(ROOT, "dist"), join(empty, "dist"), { recursive: true });
      writeFileSync(join(empty, "package.json"), '{ "type": "module" }');
      const script = `await import("./dist/${entry}"); process.stdout.write("loaded");`;
      const options = { cwd: empty, encoding: "utf8" } as const;
      expect(execFileSync(process.execPath, ["--input-type=module", "-e", script], options)).toBe("loaded");
    } finally {
      rmSync(empty, { recursive: true, force: true });
    }
  });
});
