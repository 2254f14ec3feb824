#!/usr/bin/env node
/** The program `quorum-lock`: finds the command, and turns what it throws into one line and an exit code. */
import { readFileSync } from "node:fs";
import { explain } from "./explain.js";
import { EXIT } from "./exit-codes.js";
import { nearest, usage } from "./parse-arguments.js";
import { print, tell } from "./terminal.js";

type Run = (args: readonly string[]) => Promise<number>;

/** Loaded when asked for: help and version need none of it. */
const COMMANDS: Readonly<Record<string, () => Promise<Run>>> = {
  demo: async () => (await import("./commands/demo.js")).demo,
  run: async () => (await import("./commands/run.js")).run,
};

const HELP = `quorum-lock - locks that a majority of independent servers grants

  quorum-lock demo             watch a lock survive two dead servers and a
                               paused holder; ten seconds, nothing to install
  quorum-lock run ... -- CMD   run a command while holding a lock
  quorum-lock COMMAND --help   options and exit codes of a command
  quorum-lock --version

Examples:
  quorum-lock demo
  quorum-lock run --backend redis://127.0.0.1:6379 --key hello -- echo locked
  quorum-lock run --backend redis://a:6379 --backend redis://b:6379 \\
    --backend redis://c:6379 --key nightly --wait 1m -- ./backup.sh

run starts the command once the lock is held, keeps the lock while it runs, ends
it before the lock can be lost, and returns its exit code. Redis servers need
the package ioredis (npm install ioredis). One server protects as long as it
lives; three or five protect as long as most of them live.`;

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  switch (name) {
    case undefined:
      throw usage("", "no command given: use demo or run");
    case "--help":
    case "-h":
    case "help":
      return name === "help" && rest[0] !== undefined ? commandOf(rest[0], ["--help"]) : help();
    case "--version":
    case "-v":
      print(version());
      return EXIT.ok.code;
    default:
      return commandOf(name, rest);
  }
}

async function commandOf(name: string, args: readonly string[]): Promise<number> {
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load === undefined) throw usage("", unknown(name));
  return (await load())(args);
}

function unknown(name: string): string {
  const isOption = name.startsWith("-");
  const near = nearest(name, isOption ? ["--help", "--version"] : Object.keys(COMMANDS));
  return `unknown ${isOption ? "option" : "command"} ${name}${near === undefined ? "" : `; did you mean ${near}?`}`;
}

function help(): number {
  print(HELP);
  return EXIT.ok.code;
}

function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

function fail(error: unknown): never {
  const { exitCode, line } = explain(error);
  tell(line);
  // A command that runs is ended by its watcher, which notices our end.
  process.exit(exitCode);
}

process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
main(process.argv.slice(2)).then((code) => process.exit(code), fail);
