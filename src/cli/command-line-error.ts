/** The error of the command line: one line for the person at the terminal, and the exit code. */
import type { ExitCode } from "./exit-codes.js";

/** Ends a command. The message is one line that says what is wrong and what to do next. */
export class CommandLineError extends Error {
  override readonly name: string = "CommandLineError";
  readonly code = "COMMAND_LINE";
  readonly exitCode: number;

  constructor(exit: ExitCode | number, line: string, options?: { readonly cause: unknown }) {
    super(line, options);
    this.exitCode = typeof exit === "number" ? exit : exit.code;
  }
}
