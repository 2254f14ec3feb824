/** What every command but `run` and `demo` has in common: its arguments are read by its table, and its help is printed. */
import type { CommandSpec } from "./command-table.js";
import { EXIT } from "./exit-codes.js";
import { helpOf } from "./help.js";
import { parseArguments, type Arguments } from "./parse-arguments.js";
import { print } from "./terminal.js";

/** A command as `main.ts` runs it; resolves to the exit code. */
export type Run = (args: readonly string[]) => Promise<number>;

/** A command that does `body` once its arguments are read. */
export function command(spec: CommandSpec, body: (given: Arguments) => Promise<number>): Run {
  return async (args) => {
    const given = parseArguments(spec, args);
    if (!given.has("help")) return body(given);
    print(helpOf(spec));
    return EXIT.ok.code;
  };
}
