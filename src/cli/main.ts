#!/usr/bin/env node
/** The program `quorum-lock`: runs its command line, and turns what that throws into one line and an exit code. */
import { dispatch } from "./dispatch.js";
import { explain } from "./explain.js";
import { tell } from "./terminal.js";

function fail(error: unknown): never {
  const { exitCode, line } = explain(error);
  tell(line);
  // A command that runs is ended by its watcher, which notices our end.
  process.exit(exitCode);
}

process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
dispatch(process.argv.slice(2)).then((code) => process.exit(code), fail);
