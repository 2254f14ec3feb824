/** Whether a command can be executed, found out before anything is locked for it. */
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { show } from "../errors.js";
import { CommandLineError } from "./command-line-error.js";
import { EXIT, type ExitCode } from "./exit-codes.js";

/** Throws a {@link CommandLineError} when the command would not be found, or not be executed. */
export function checkCommand(name: string, path: string = process.env["PATH"] ?? "/usr/bin:/bin"): void {
  const byPath = !name.includes("/");
  const files = byPath ? path.split(delimiter).map((folder) => join(folder || ".", name)) : [name];
  const found = files.map(lookAt);
  if (found.includes("executable")) return;
  if (found.includes("denied")) {
    throw refused(EXIT.cannotExecute, name, "has no permission to be executed (chmod +x)");
  }
  if (!byPath && found.includes("no file")) throw refused(EXIT.cannotExecute, name, "is no file");
  throw refused(EXIT.notFound, name, byPath ? "was not found in any folder of PATH" : "was not found");
}

function refused(exit: ExitCode, name: string, why: string): CommandLineError {
  return new CommandLineError(exit, `command ${show(name)} ${why}; nothing was locked`);
}

function lookAt(file: string): "executable" | "missing" | "no file" | "denied" {
  try {
    if (!statSync(file).isFile()) return "no file";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EACCES" ? "denied" : "missing";
  }
  try {
    accessSync(file, constants.X_OK);
    return "executable";
  } catch {
    return "denied";
  }
}
