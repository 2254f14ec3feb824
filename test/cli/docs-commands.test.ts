// Every command line in the docs, in comments and in messages: the command exists, and takes these arguments and options.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { COMMANDS, type CommandName } from "../../src/cli/command-table.ts";
import { readCommonSettings } from "../../src/cli/common-options.ts";
import { parseArguments } from "../../src/cli/parse-arguments.ts";
import { readRunSettings } from "../../src/cli/run-settings.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

interface CommandLine {
  /** File and line. */
  readonly where: string;
  readonly words: readonly string[];
}

function files(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => `${folder}/${file}`);
}

/** Whole command lines in fenced blocks of a shell. */
function linesOf(file: string): readonly CommandLine[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  return [...text.matchAll(/^( *)```sh\n([\s\S]*?)^\1```$/gm)].flatMap((block) => {
    const first = text.slice(0, block.index).split("\n").length + 1;
    const code = (block[2] ?? "").replace(/\\\n\s*/g, (joined) => " ".repeat(joined.length));
    return code.split("\n").flatMap((line, i): readonly CommandLine[] => {
      const [, command] = /^\s*(?:npx (?:-p \S+ )*)?quorum-lock (.*?)(?:\s+#.*)?$/.exec(line) ?? [];
      if (command === undefined) return [];
      const filled = command.replaceAll(
        "$BACKENDS",
        "--backend redis://a --backend redis://b --backend redis://c",
      );
      return [{ where: `${file}:${first + i}`, words: filled.trim().split(/\s+/) }];
    });
  });
}

const PAGES = ["README.md", ...files("docs", ".md")];

describe("command lines in the docs", () => {
  const lines = PAGES.flatMap(linesOf);

  test("are found", () => {
    expect(lines.length).toBeGreaterThan(12);
    expect(lines.filter(({ where }) => where.startsWith("docs/runbook.md")).length).toBeGreaterThan(9);
  });

  for (const { where, words } of lines) {
    test(`${where}: quorum-lock ${words.join(" ").slice(0, 60)}`, () => {
      const [name = "", ...args] = words;
      expect(Object.keys(COMMANDS)).toContain(name);
      const spec = COMMANDS[name as CommandName];
      if (name === "run") {
        readRunSettings(args);
        return;
      }
      const given = parseArguments(spec, args);
      if ("backend" in spec.options) readCommonSettings(name, given);
      for (const [option, each] of Object.entries(spec.options)) {
        if (each.required === true) expect(given.has(option), `--${option}`).toBe(true);
      }
    });
  }

  test("use a name that check shows for quarantine", () => {
    for (const { words } of lines.filter(({ words: [name] }) => name === "quarantine")) {
      // Host and port, as a URL without a name gives it.
      expect(words[1]).toMatch(/^\S+:\d+$/);
    }
  });
});

describe("commands that texts mention", () => {
  const mentions = [...PAGES, ...files("src", ".ts")].flatMap((file) => {
    const whole = readFileSync(join(ROOT, file), "utf8");
    // In code a backtick begins a text, which may be about quorum-lock itself.
    const prose = /^\s*(\/\*\*|\*|\/\/)|run quorum-lock/;
    const text = file.endsWith(".ts")
      ? whole
          .split("\n")
          .filter((line) => prose.test(line))
          .join("\n")
      : whole;
    return [...text.matchAll(/`quorum-lock ([a-z]+)((?: [^`\n]*)?)`|run quorum-lock ([a-z]+)/g)].map(
      ([whole, name, rest = "", other]) => ({ file, whole, name: name ?? other ?? "", rest }),
    );
  });

  test("exist, with their options", () => {
    expect(mentions.length).toBeGreaterThan(20);
    const wrong = mentions.filter(({ name, rest }) => {
      if (name === "help") return false;
      const spec = Object.hasOwn(COMMANDS, name) ? COMMANDS[name as CommandName] : undefined;
      const [own = ""] = rest.split(" -- ");
      const options = [...own.matchAll(/--([a-z-]+)/g)].map(([, option = ""]) => option);
      return spec === undefined || options.some((option) => option !== "help" && !(option in spec.options));
    });
    // Where the name itself is a placeholder it is written in capitals.
    expect(wrong.map(({ file, whole }) => `${file}: ${whole}`)).toEqual([]);
  });
});
