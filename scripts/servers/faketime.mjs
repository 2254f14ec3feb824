// Debian's libfaketime, unpacked into the project's cache: with it in front, a server believes in a wall clock that a file sets, while its
// monotonic clock goes on. For tests of wall-clock jumps.
// @ts-check
import { existsSync } from "node:fs";
import { copyFile, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { serversFolder } from "./debian-packages.mjs";
import { placeFolder, withScratch } from "./place-folder.mjs";
import { privateApt } from "./private-apt.mjs";
import { runBounded } from "./run-bounded.mjs";

const unpackTimeoutMs = 60_000;
const libraryName = "libfaketimeMT.so.1";

/** @typedef {{ library: string }} Faketime */

/**
 * The library, brought if need be.
 * @returns {Promise<Faketime | { missing: string }>} why it is not to be had, in one line
 */
export async function resolveFaketime() {
  const folder = join(serversFolder, `faketime-${process.arch}`);
  const library = join(folder, libraryName);
  try {
    if (!existsSync(library)) await bring(folder, library);
    return { library };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      missing: `libfaketime is missing (${reason}); it comes from Debian packages`.replaceAll("\n", " "),
    };
  }
}

/** @param {string} folder @param {string} library */
async function bring(folder, library) {
  if (process.platform !== "linux") throw new Error("Debian packages run on Linux only");
  await withScratch(serversFolder, async (scratch) => {
    const archives = await (await privateApt(join(scratch, "apt"), "bookworm")).download(["libfaketime"]);
    const own = archives.find((archive) => basename(archive).startsWith("libfaketime_"));
    if (own === undefined) throw new Error("the package libfaketime was not fetched");
    const root = join(scratch, "root");
    await runBounded("dpkg", ["-x", own, root], { timeoutMs: unpackTimeoutMs });
    const found = await runBounded("find", [root, "-name", libraryName], { timeoutMs: unpackTimeoutMs });
    const entry = join(scratch, "entry");
    await mkdir(entry);
    await copyFile(found.trim(), join(entry, libraryName));
    await placeFolder(entry, folder, async () => existsSync(library));
  });
}

/**
 * What a server that `command` starts must find in its environment. The C library stands in front of its allocator,
 * with which libfaketime would wait for itself. The clock is set through `file`: {@link setClock}.
 * @param {Faketime} faketime @param {{ command: string, file: string }} of `command` is the unpacked loader
 * @returns {Record<string, string>}
 */
export function faketimeEnv({ library }, { command, file }) {
  return {
    LD_PRELOAD: `${library} ${join(dirname(command), "libc.so.6")}`,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
}

/** Sets the wall clock of a server that runs with it to so many milliseconds from the true one. @param {string} file @param {number} offsetMs */
export async function setClock(file, offsetMs) {
  // Read by the server at every look at the clock: never empty, so it is written elsewhere and put in place.
  await writeFile(`${file}.new`, `${offsetMs < 0 ? "-" : "+"}${(Math.abs(offsetMs) / 1000).toFixed(3)}\n`);
  await rename(`${file}.new`, file);
}

/** Removes what libfaketime leaves in shared memory when its process is killed. @param {number} pid */
export async function sweepFaketime(pid) {
  for (const name of [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`]) {
    await rm(join("/dev/shm", name), { force: true });
  }
}
