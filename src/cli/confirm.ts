/** Asking before something is changed. */
import { createInterface } from "node:readline";
import { CommandLineError } from "./command-line-error.js";
import { EXIT } from "./exit-codes.js";
import { usage, type Arguments } from "./parse-arguments.js";
import { canAsk, show } from "./terminal.js";

/** Whoever thinks longer is asked again when the command is given again. */
const ANSWER_WITHIN_MS = 300_000;

/** Asks unless `--yes` was given. Throws a {@link CommandLineError} when the answer is another than yes, or nobody is there. */
export async function confirm(command: string, given: Arguments, question: string): Promise<void> {
  if (given.has("yes")) return;
  if (!canAsk()) {
    throw usage(command, `${command} asks first, and there is no terminal to ask on: add --yes to go ahead`);
  }
  show(`${question} [y/N] `);
  const answer = await line();
  if (answer === undefined) show("\n");
  if (!/^y(es)?$/i.test(answer?.trim() ?? "")) {
    throw new CommandLineError(EXIT.problem, "not confirmed, nothing was changed; answer y, or add --yes");
  }
}

/** What is typed; undefined at the end of the input, or when nothing is. */
function line(): Promise<string | undefined> {
  const reader = createInterface({ input: process.stdin });
  return new Promise((resolve) => {
    const timer = setTimeout(() => reader.close(), ANSWER_WITHIN_MS);
    reader.once("line", (text) => {
      resolve(text);
      reader.close();
    });
    reader.once("close", () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}
