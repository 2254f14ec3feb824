/** Arguments to options, strictly: what is unknown, missing or given twice is an error with a hint, never a silent default. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { nearest } from "../config/nearest.js";
import { show } from "../errors.js";
import { CommandLineError } from "./command-line-error.js";
import type { CommandSpec } from "./command-table.js";
import { EXIT } from "./exit-codes.js";

export { nearest } from "../config/nearest.js";

/** What was given; an option or argument that was not given is missing. */
export interface Arguments {
  /** All values of a repeatable option. */
  all(option: string): readonly string[];
  one(option: string): string | undefined;
  has(option: string): boolean;
  /** An argument without a dash, by its name in the table. */
  positional(name: string): string | undefined;
}

/**
 * Reads the arguments of `quorum-lock COMMAND`. Throws a {@link CommandLineError}. Where help is asked for, nothing else
 * needs to be there.
 */
export function parseArguments(spec: CommandSpec, args: readonly string[]): Arguments {
  const { name: command, options: specs } = spec;
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  // All as lists: parseArgs would let the last one win where an option is given twice.
  for (const [name, { type }] of Object.entries(specs)) options[name] = { type, multiple: true };
  options["help"] = { type: "boolean", short: "h", multiple: true };
  const { values, words } = parsed(spec, options, args);
  for (const [name, given] of values) {
    const option = specs[name];
    const repeatable = option?.type === "string" && option.repeatable === true;
    if (given.length > 1 && !repeatable && name !== "help") {
      throw usage(command, `option --${name} is given ${given.length} times; once is enough`);
    }
  }
  if (!values.has("help")) checkPositionals(spec, words);
  const all = (option: string): readonly string[] => (values.get(option) ?? []).map(String);
  return {
    all,
    one: (option) => all(option)[0],
    has: (option) => values.has(option),
    positional: (name) => words[spec.positionals.findIndex((each) => each.name === name)],
  };
}

/** An error of usage, with where to look. */
export function usage(command: string, problem: string): CommandLineError {
  const help = command === "" ? "quorum-lock --help" : `quorum-lock ${command} --help`;
  return new CommandLineError(EXIT.usage, `${problem} (see ${help})`);
}

function checkPositionals({ name: command, positionals }: CommandSpec, words: readonly string[]): void {
  const extra = words[positionals.length];
  if (extra !== undefined) {
    const takes = positionals.map(({ name }) => name).join(" and ");
    const hint = takes === "" ? "" : `: ${command} takes one ${takes}, with quotes if it has blanks`;
    throw usage(command, `unexpected argument ${show(extra)}${hint}`);
  }
  for (const [index, { name, about, optional, values }] of positionals.entries()) {
    const word = words[index];
    if (word === undefined && optional !== true) throw usage(command, `${name} is missing: ${about}`);
    if (word !== undefined && values?.includes(word) === false) {
      throw usage(command, `${name} must be one of ${values.join(", ")}; got ${show(word)}`);
    }
  }
}

function parsed(
  spec: CommandSpec,
  options: NonNullable<ParseArgsConfig["options"]>,
  args: readonly string[],
): {
  readonly values: ReadonlyMap<string, readonly (string | boolean)[]>;
  readonly words: readonly string[];
} {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options,
      strict: true,
      allowPositionals: true,
    });
    return {
      values: new Map(Object.entries(values) as [string, (string | boolean)[]][]),
      words: positionals,
    };
  } catch (error) {
    throw usage(spec.name, problem(error as NodeJS.ErrnoException, Object.keys(options)));
  }
}

function problem(error: NodeJS.ErrnoException, known: readonly string[]): string {
  const quoted = /'(-{0,2}[^' ]*)/.exec(error.message)?.[1] ?? "";
  switch (error.code) {
    case "ERR_PARSE_ARGS_UNKNOWN_OPTION": {
      const near = nearest(quoted.replace(/^-+/, ""), known);
      return `unknown option ${quoted}${near === undefined ? "" : `; did you mean --${near}?`}`;
    }
    case "ERR_PARSE_ARGS_INVALID_OPTION_VALUE":
      return valueProblem(/--[\w-]+/.exec(error.message)?.[0] ?? quoted, error.message);
    default:
      return error.message.split("\n", 1)[0] ?? "";
  }
}

function valueProblem(option: string, message: string): string {
  if (message.includes("ambiguous"))
    return `option ${option} needs a value; one that begins with a dash is written ${option}=-…`;
  return `option ${option} ${message.includes("does not take") ? "takes no value" : "needs a value"}`;
}
