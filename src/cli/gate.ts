/**
 * Starts a command behind a gate: its process exists, and with it its process group, but the command itself is not
 * executed before the gate is opened. Meanwhile the watcher learns the group, so that the command never runs unwatched.
 *
 * The gate is a shell that waits for a line and then becomes the command (`exec`): same process, same exit code, same
 * arguments. Node itself cannot do that, having no exec. When quorum-lock dies first the line never comes, and the
 * shell ends.
 */
import { spawn, type ChildProcess } from "node:child_process";
import type { Writable } from "node:stream";
import { CommandLineError } from "./command-line-error.js";
import { EXIT } from "./exit-codes.js";

/** What is to be executed. */
export interface Command {
  readonly name: string;
  readonly args: readonly string[];
  /** Laid over the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
}

/** How a command ended. */
export type CommandEnd =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "signalled"; readonly signal: NodeJS.Signals };

/** A command that waits at its gate. */
export interface GatedCommand {
  readonly pid: number;
  /** Never rejects. */
  readonly ended: Promise<CommandEnd>;
  open(): void;
}

const SHELL = "/bin/sh";
const ENV = "/usr/bin/env";
const SCRIPT = 'read -r _ <&3 && exec "$@" 3<&-';

/** Starts the process. Rejects with a {@link CommandLineError} when that cannot be done. */
export function startGated(command: Command): Promise<GatedCommand> {
  const env = { ...process.env, ...command.env };
  const argv = [...lostVariables(env), command.name, ...command.args];
  const child = spawn(SHELL, ["-c", SCRIPT, "quorum-lock", ...argv], {
    detached: true,
    stdio: ["inherit", "inherit", "inherit", "pipe"],
    env,
  });
  const ended = new Promise<CommandEnd>((resolve) => {
    child.once("exit", (code, signal) => {
      resolve(signal === null ? { kind: "exited", code: code ?? 0 } : { kind: "signalled", signal });
    });
  });
  return new Promise((resolve, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) => reject(notStarted(error)));
    child.once("spawn", () => resolve(gated(child, ended)));
  });
}

function gated(child: ChildProcess, ended: Promise<CommandEnd>): GatedCommand {
  const gate = child.stdio[3] as Writable;
  // It may be gone by then, ended by a signal.
  gate.on("error", () => undefined);
  return {
    pid: child.pid ?? 0,
    ended,
    open: () => void gate.end("go\n"),
  };
}

/**
 * Some shells (dash) drop environment variables whose names are no shell names, such as the functions that bash
 * exports. `env` puts those back; nearly always there are none. For the moment until then they show in `ps`.
 */
function lostVariables(env: NodeJS.ProcessEnv): readonly string[] {
  const lost = Object.entries(env).filter(([name]) => !/^[A-Za-z_]\w*$/.test(name));
  return lost.length === 0 ? [] : [ENV, ...lost.map(([name, value]) => `${name}=${value}`)];
}

function notStarted(error: NodeJS.ErrnoException): CommandLineError {
  const why = error.code === "E2BIG" ? "its arguments and environment are too long" : error.message;
  return new CommandLineError(EXIT.cannotExecute, `the command cannot be started: ${why}`, { cause: error });
}
