// The completion scripts in real shells, typed into as a person does.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, vi } from "vitest";
import { COMMANDS, type CommandSpec } from "../../src/cli/command-table.ts";
import { bashCompletion, zshCompletion } from "../../src/cli/completion.ts";
import { inTerminal } from "./in-terminal.ts";
import { test } from "./running-cli.ts";

vi.setConfig({ testTimeout: 60_000 });

/** What bash offers when this was typed; the last word is the one that is completed. */
function offered(...words: readonly string[]): readonly string[] {
  const script = `${bashCompletion()}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _quorum_lock; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr, status } = spawnSync(
    "bash",
    ["--norc", "--noprofile", "-c", script, "bash", ...words],
    {
      encoding: "utf8",
      timeout: 10_000,
    },
  );
  expect([status, stderr]).toEqual([0, ""]);
  return stdout.split("\n").filter((line) => line !== "");
}

/** What each shell is expected to make of what is typed. */
const TYPED: readonly (readonly [keys: string, becomes: RegExp])[] = [
  ["quorum-lock quar\t", /quorum-lock quarantine /],
  ["quorum-lock fence k --at\t", /quorum-lock fence k --at-least/],
  ["quorum-lock run --restart-guard str\t", /quorum-lock run --restart-guard strict/],
  ["quorum-lock completion z\t", /quorum-lock completion zsh/],
  ["quorum-lock run --key k -- mkfi\t", /quorum-lock run --key k -- mkfifo/],
];

describe("completion in bash", () => {
  test("offers every command first", () => {
    expect(offered("quorum-lock", "")).toEqual([...Object.keys(COMMANDS), "help", "--help", "--version"]);
    expect(offered("quorum-lock", "in")).toEqual(["inspect", "init"]);
    expect(offered("quorum-lock", "help", "li")).toEqual(["list"]);
  });

  test("offers exactly the options of each command", () => {
    for (const [name, spec] of Object.entries<CommandSpec>(COMMANDS)) {
      const options = Object.keys(spec.options).map((option) => `--${option}`);
      const rest = spec.runsCommand === true ? ["--"] : [];
      expect(offered("quorum-lock", name, "--")).toEqual([...options, "--help", ...rest]);
    }
  });

  test("offers the values of an option where they are known, in both ways of writing it, and else nothing", () => {
    expect(offered("quorum-lock", "check", "--restart-guard", "")).toEqual(["auto", "strict", "off"]);
    expect(offered("quorum-lock", "check", "--restart-guard", "=", "s")).toEqual(["strict"]);
    expect(offered("quorum-lock", "check", "--restart-guard", "=")).toEqual(["auto", "strict", "off"]);
    expect(offered("quorum-lock", "check", "--backend", "r")).toEqual([]);
    expect(offered("quorum-lock", "completion", "")).toEqual(["bash", "zsh", "--help"]);
  });

  test("leaves what follows -- to the other command", ({ folder }) => {
    writeFileSync(join(folder, "a file.sh"), "");
    expect(offered("quorum-lock", "run", "--", join(folder, "a"))).toEqual([join(folder, "a file.sh")]);
    expect(new Set(offered("quorum-lock", "run", "--key", "k", "--", "mkfif"))).toEqual(new Set(["mkfifo"]));
  });

  test("works when it is typed into an interactive bash", async ({ folder }) => {
    const file = join(folder, "completion.bash");
    writeFileSync(file, `${bashCompletion()}\nPS1='> '\n`);
    for (const [keys, becomes] of TYPED) {
      const shell = inTerminal(["bash", "--rcfile", file, "-i"]);
      await shell.shows(/> $/);
      shell.type(keys);
      await shell.shows(becomes);
      shell.type("\u0003exit\n");
    }
  });
});

describe("completion in zsh", () => {
  test("is well-formed for a shell of that family", () => {
    // It uses only what both shells read alike, so that a machine without zsh can check it, too.
    const { status, stderr } = spawnSync("bash", ["-n"], { input: zshCompletion(), encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
  });

  test("describes every option of each command", () => {
    const script = zshCompletion();
    for (const [name, spec] of Object.entries<CommandSpec>(COMMANDS)) {
      const part = script.slice(script.indexOf(`\n    ${name})`));
      const text = part.slice(0, part.indexOf(";;"));
      const described = [...text.matchAll(/'\*?--([a-z-]+)[=[]/g)].map(([, option]) => option);
      expect(described).toEqual([...Object.keys(spec.options), "help"]);
    }
  });

  const hasZsh = spawnSync("zsh", ["--version"]).status === 0;
  if (!hasZsh)
    console.warn("no zsh here: its completion is only parsed, not typed into (Debian: apt-get install zsh)");
  test.skipIf(!hasZsh)("works when it is typed into an interactive zsh", async ({ folder }) => {
    // As a file in a folder of $fpath, the other way than sourcing.
    const functions = join(folder, "functions");
    mkdirSync(functions);
    writeFileSync(join(functions, "_quorum-lock"), zshCompletion());
    writeFileSync(
      join(folder, ".zshrc"),
      `fpath=(${functions} $fpath); autoload -Uz compinit; compinit -u -D; PS1='> '\n`,
    );
    for (const [keys, becomes] of TYPED) {
      const shell = inTerminal(["zsh", "-d", "-i"], { env: { ZDOTDIR: folder } });
      await shell.shows(/> $/);
      shell.type(keys);
      await shell.shows(becomes);
      shell.type("\u0003exit\n");
    }
  });
});
