// Python packages for a server that is no Debian package: fetched by Debian's own pip, which runs in the unpacked Python and uses the machine's
// package index, proxy settings and trusted keys. Every file is compared with the checksum in the list of requirements.
// @ts-check
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runBounded } from "./run-bounded.mjs";

/** @typedef {import("./recipes.mjs").Wheels} Wheels */

const installTimeoutMs = 240_000;
const proofTimeoutMs = 60_000;

/**
 * Puts them into the unpacked packages, as if Debian had them.
 * @param {{ root: string, wheels: Wheels, binary: string, loader: string, folders: readonly string[] }} what
 * @returns {Promise<string[]>} the machine code among them, below usr/
 */
export async function addWheels(what) {
  const { root, wheels, folders } = what;
  const python = join(root, what.binary);
  const run = ["--inhibit-cache", "--library-path", folders.join(":"), "--argv0", python, python];
  const pip = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
    "--no-cache-dir",
  ];
  const exactly = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"];
  const to = ["--target", join(root, "usr", wheels.folder)];
  const requirements = ["-r", fileURLToPath(new URL(wheels.requirements, import.meta.url))];
  await runBounded(what.loader, [...run, ...pip, ...exactly, ...to, ...requirements], {
    timeoutMs: installTimeoutMs,
    env: { PYTHONHOME: "", PYTHONPATH: "", PYTHONDONTWRITEBYTECODE: "1" },
  });
  const files = await readdir(join(root, "usr", wheels.folder), { recursive: true });
  return files.filter((file) => file.endsWith(".so")).map((file) => join(wheels.folder, file));
}

/**
 * Loads them all once: that shows what is missing, and leaves them compiled for every later start.
 * @param {{ command: string, args: readonly string[] }} python @param {string} folder @param {Wheels} wheels
 */
export async function proveWheels(python, folder, wheels) {
  const env = { PYTHONPATH: folder, PYTHONHOME: "", PYTHONNOUSERSITE: "1", PYTHONDONTWRITEBYTECODE: "" };
  await runBounded(python.command, [...python.args, ...wheels.proof], { timeoutMs: proofTimeoutMs, env });
}
