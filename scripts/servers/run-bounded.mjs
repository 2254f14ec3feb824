// Runs one outside command with a bound on its time, and turns every way it can fail into one line of text.
// @ts-check
import { execFile } from "node:child_process";

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ timeoutMs: number, env?: Readonly<Record<string, string>>, cwd?: string }} bounds `env` is laid over this process's own
 * @returns {Promise<string>} what it printed on stdout; rejects with a one-line `Error` when it cannot start, fails or overstays
 */
export function runBounded(command, args, bounds) {
  const { timeoutMs, env = {}, cwd } = bounds;
  return new Promise((resolve, reject) => {
    execFile(
      command,
      [...args],
      {
        cwd,
        env: { ...process.env, ...env, LC_ALL: "C" },
        timeout: timeoutMs,
        // A command that hangs may ignore anything milder.
        killSignal: "SIGKILL",
        maxBuffer: 64 * 1024 * 1024,
      },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        const what = `${command} ${args[0] ?? ""}`.trim();
        reject(new Error(reasonOf(what, error, { stderr, timeoutMs }), { cause: error }));
      },
    );
  });
}

/**
 * @param {string} what
 * @param {import("node:child_process").ExecFileException} error
 * @param {{ stderr: string, timeoutMs: number }} context
 */
function reasonOf(what, error, context) {
  if (error.killed === true) return `${what} did not end within ${context.timeoutMs / 1000} s`;
  if (error.code === "ENOENT") return `${what.split(" ")[0]} is not on this machine's PATH`;
  const lines = context.stderr.split("\n").filter((line) => line.trim() !== "");
  // apt and npm mark the line that matters; the others are progress and consequences.
  const marked = lines.find((line) => /^(E:|Err:|npm error)/.test(line));
  const reason = (marked ?? lines.at(-1) ?? error.message.split("\n")[0] ?? "").trim();
  return `${what} failed (${error.signal ?? `exit ${error.code}`}): ${reason}`;
}
