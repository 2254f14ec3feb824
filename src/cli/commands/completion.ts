/** `quorum-lock completion`: prints a completion script. */
import { command, type Run } from "../command.js";
import { COMMANDS } from "../command-table.js";
import { bashCompletion, zshCompletion } from "../completion.js";
import { EXIT } from "../exit-codes.js";
import { print } from "../terminal.js";

/** Runs it; resolves to the exit code. */
export const completion: Run = command(COMMANDS.completion, async (given) => {
  print(given.positional("SHELL") === "zsh" ? zshCompletion() : bashCompletion());
  return EXIT.ok.code;
});
