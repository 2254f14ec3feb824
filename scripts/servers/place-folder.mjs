// Puts a finished folder where everyone looks for it, in one step, so that a reader never sees half of it and two writers at once end with
// one whole folder.
// @ts-check
import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

const workPrefix = ".bring-";
const abandonedAfterMs = 60 * 60 * 1000;

/**
 * Runs `fill` with an empty scratch folder beside the targets (rename works only within one file system) and removes it afterwards.
 * @template T
 * @param {string} cacheFolder
 * @param {(scratch: string) => Promise<T>} fill
 * @returns {Promise<T>}
 */
export async function withScratch(cacheFolder, fill) {
  await mkdir(cacheFolder, { recursive: true });
  await sweepAbandoned(cacheFolder);
  const scratch = await mkdtemp(join(cacheFolder, workPrefix));
  try {
    return await fill(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * @param {string} finished a complete folder inside a scratch folder
 * @param {string} target
 * @param {() => Promise<boolean>} targetIsGood whether what lies at `target` by now will do; what will not do is replaced
 */
export async function placeFolder(finished, target, targetIsGood) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await rename(finished, target);
    } catch (error) {
      if (!isTaken(error) || attempt === 3) throw error;
      if (await targetIsGood()) return;
      // Moved aside, not deleted in place: a process that still runs from the old folder keeps its open files.
      await rename(target, `${finished}.replaced-${attempt}`).catch(() => undefined);
    }
  }
}

/** @param {unknown} error */
function isTaken(error) {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOTEMPTY" || code === "EEXIST";
}

/** What a killed process left behind; the age keeps this away from a scratch folder in use. @param {string} cacheFolder */
async function sweepAbandoned(cacheFolder) {
  for (const name of await readdir(cacheFolder)) {
    if (!name.startsWith(workPrefix)) continue;
    const path = join(cacheFolder, name);
    const made = await stat(path).catch(() => undefined);
    if (made !== undefined && Date.now() - made.mtimeMs > abandonedAfterMs) {
      await rm(path, { recursive: true, force: true });
    }
  }
}
