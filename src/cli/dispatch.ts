/** Finds the command that a command line names, and runs it. */
import { readFileSync } from "node:fs";
import type { Run } from "./command.js";
import { COMMANDS, type CommandName } from "./command-table.js";
import { EXIT } from "./exit-codes.js";
import { mainHelp } from "./help.js";
import { nearest, usage } from "./parse-arguments.js";
import { print } from "./terminal.js";

/** Loaded when asked for: help and version need none of it. */
const LOAD: Readonly<Record<CommandName, () => Promise<Run>>> = {
  demo: async () => (await import("./commands/demo.js")).demo,
  run: async () => (await import("./commands/run.js")).run,
  inspect: async () => (await import("./commands/inspect.js")).inspect,
  list: async () => (await import("./commands/list.js")).list,
  watch: async () => (await import("./commands/watch.js")).watch,
  release: async () => (await import("./commands/release.js")).release,
  fence: async () => (await import("./commands/fence.js")).fence,
  init: async () => (await import("./commands/init.js")).init,
  quarantine: async () => (await import("./commands/quarantine.js")).quarantine,
  check: async () => (await import("./commands/check.js")).check,
  config: async () => (await import("./commands/config.js")).config,
  completion: async () => (await import("./commands/completion.js")).completion,
};

/** Runs a command line; resolves to the exit code, and rejects with what `explain` turns into one line. */
export async function dispatch(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  switch (name) {
    case undefined:
      throw usage("", `no command given: use ${Object.keys(COMMANDS).join(", ")}`);
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
  if (!isCommand(name)) throw usage("", unknown(name));
  return (await LOAD[name]())(args);
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name);
}

function unknown(name: string): string {
  const isOption = name.startsWith("-");
  const near = nearest(name, isOption ? ["--help", "--version"] : Object.keys(COMMANDS));
  return `unknown ${isOption ? "option" : "command"} ${name}${near === undefined ? "" : `; did you mean ${near}?`}`;
}

function help(): number {
  print(mainHelp());
  return EXIT.ok.code;
}

function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
