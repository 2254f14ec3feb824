// A child process that cannot outlive this one, not even when this one is killed with -9. Plain JavaScript, because the proof of that runs
// it in a bare Node process, and Node 20 runs no TypeScript.
// @ts-check
import { spawn } from "node:child_process";

// The shell forks a guard that reads a pipe from us and then becomes the program itself, so the pid is the program's own. A line means that
// the program ended and was reaped; the end of the pipe without a line means that we are gone. A guard is there before the program
// starts and holds no lock on it: it kills also a stopped process, and the processes that the program has started, which may be stopped too and
// would not notice. It is no child of the program (hence the second pair of parentheses), and ignores what a terminal sends to the whole group.
const guardScript = `
  ( ( trap '' HUP INT TERM
      read -r _ || {
        kill -STOP $$
        children=
        for stat in /proc/[0-9]*/stat; do
          read -r line <"$stat" || continue
          set -- \${line##*) }
          pid=\${stat#/proc/}
          [ "$2" = "$$" ] && children="$children \${pid%/stat}"
        done
        kill -9 $$ $children
        rm -rf -- "$0"
      }
    ) <&3 >/dev/null 2>&1 & )
  exec "$@" 3<&-
`;

/**
 * @typedef {object} GuardedProcess
 * @property {number} pid
 * @property {() => boolean} running
 * @property {Promise<void>} ended resolves when the process is gone and reaped
 */

/** @type {Set<number>} */
const alive = new Set();

// Not needed for the guarantee: it only makes an orderly end quicker and leaves no process for the moment a guard takes.
process.on("exit", () => {
  for (const pid of alive) signal(pid, "SIGKILL");
});

/**
 * @param {{ command: string, args: readonly string[], env?: Readonly<Record<string, string>>, uid?: number | undefined }} program with `uid` it
 *   runs as that user, who must own `place.folder`
 * @param {{ folder: string, output: number }} place `folder` is removed when this process dies before the program did; `output` is the
 *   open file that takes stdout and stderr (a pipe would stop the program whenever we are busy)
 * @returns {GuardedProcess}
 */
export function startGuarded(program, place) {
  const child = spawn("/bin/sh", ["-c", guardScript, place.folder, program.command, ...program.args], {
    cwd: place.folder,
    env: { ...process.env, ...program.env },
    stdio: ["ignore", place.output, place.output, "pipe"],
    ...(program.uid === undefined ? {} : { uid: program.uid, gid: program.uid }),
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("/bin/sh could not be started");
  const leash = /** @type {import("node:net").Socket} */ (child.stdio[3]);
  // The guard may be gone first, killed by somebody.
  leash.on("error", () => undefined);
  alive.add(pid);
  /** @type {Promise<void>} */
  const ended = new Promise((resolve) => {
    child.once("exit", () => {
      alive.delete(pid);
      leash.end("ended\n");
      resolve();
    });
  });
  // A test file that forgets a server must end all the same.
  child.unref();
  leash.unref();
  return { pid, running: () => alive.has(pid), ended };
}

/** @param {number} pid @param {NodeJS.Signals} name @returns {boolean} false when there is no such process */
export function signal(pid, name) {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
