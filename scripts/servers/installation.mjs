// A server that is more than one program: it looks for its files relative to its own path and starts programs beside it, so the places of
// its packages are kept, and every program is a short script of that name that starts the real one with the unpacked loader.
// @ts-check
import { chmod, copyFile, cp, mkdir, readdir, readlink, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, isAbsolute, join } from "node:path";

/** @typedef {import("./recipes.mjs").Installation} Installation */

const realSuffix = ".real";

/**
 * Adds to an entry that already has loader and libraries in `lib/`.
 * @param {{ root: string, entry: string, binary: string, installation: Installation }} what
 */
export async function gatherInstallation(what) {
  const { root, entry, installation } = what;
  const left = new Set(installation.without);
  for (const tree of installation.trees) {
    await cp(join(root, "usr", tree), join(entry, tree), {
      recursive: true,
      // A link out of the tree would lead to the machine's own files.
      verbatimSymlinks: true,
      filter: (path) => !left.has(basename(path)),
    });
    await fillLinks(root, join(entry, tree));
  }
  for (const file of installation.files ?? []) {
    await mkdir(dirname(join(entry, file)), { recursive: true });
    await copyFile(join(root, "usr", file), join(entry, file));
  }
  for (const program of [what.binary.slice("usr/".length), ...installation.programs]) {
    const place = join(entry, program);
    await mkdir(dirname(place), { recursive: true });
    await copyFile(join(root, "usr", program), `${place}${realSuffix}`);
    await writeFile(place, startScript(program));
    await chmod(place, 0o755);
  }
}

/**
 * Puts what the packages have there in the place of links to an absolute path, such as one into /etc.
 * @param {string} root @param {string} folder
 */
async function fillLinks(root, folder) {
  for (const item of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!item.isSymbolicLink()) continue;
    const link = join(item.parentPath, item.name);
    const target = await readlink(link);
    if (!isAbsolute(target)) continue;
    await rm(link);
    const real = join(root, target);
    if ((await stat(real).catch(() => undefined))?.isFile()) await copyFile(real, link);
  }
}

/** The pid stays the script's own. @param {string} program */
function startScript(program) {
  return `#!/bin/sh
top="\${0%/${program}}"
for loader in "$top"/lib/ld-linux-*; do :; done
exec "$loader" --inhibit-cache --library-path "$top/lib" --argv0 "$0" "$0${realSuffix}" "$@"
`;
}

/** @param {string} folder @param {string} program */
export function invocationOfInstallation(folder, program) {
  return { command: join(folder, program), args: /** @type {string[]} */ ([]) };
}
