#!/usr/bin/env node
// The newest Node that the package registry offers, beside the one that runs this, so that the built package and the tests can be run on
// both. Prints the path of its binary.
// @ts-check
import { existsSync, realpathSync } from "node:fs";
import { mkdir, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { placeFolder, withScratch } from "./servers/place-folder.mjs";
import { runBounded } from "./servers/run-bounded.mjs";

const nodeFolder = fileURLToPath(new URL("../.cache/node/", import.meta.url));
const lookTimeoutMs = 60_000;
const fetchTimeoutMs = 300_000;
const commandTimeoutMs = 60_000;

/**
 * The version is asked of the registry each time; its binary is fetched once (57 MB) and kept in the project's cache. Rejects with a one-line
 * message that says what to do.
 * @returns {Promise<{ version: string, path: string }>} `version` without "v"
 */
export async function newestNode() {
  if (process.platform !== "linux" && process.platform !== "darwin") {
    throw new Error(
      `the registry's Node packages are used on Linux and macOS only, not on ${process.platform}`,
    );
  }
  const packageName = `node-${process.platform}-${process.arch}`;
  // Asked of `node`, which is published when all platforms are there; the platform's own package may be ahead of it.
  const version = await npm(["view", "node", "version"], lookTimeoutMs);
  if (!/^\d+\.\d+\.\d+$/.test(version))
    throw new Error(`npm view node version printed ${JSON.stringify(version)}`);
  const folder = join(nodeFolder, `${version}-${process.platform}-${process.arch}`);
  const path = join(folder, "node");
  if (!existsSync(path)) {
    await withScratch(nodeFolder, async (scratch) => {
      await fetchInto(scratch, `${packageName}@${version}`);
      const said = (
        await runBounded(join(scratch, "kept", "node"), ["--version"], { timeoutMs: commandTimeoutMs })
      ).trim();
      if (said !== `v${version}`) throw new Error(`${packageName}@${version} calls itself ${said}`);
      await placeFolder(join(scratch, "kept"), folder, async () => existsSync(path));
    });
  }
  return { version, path };
}

/** Leaves the binary as `kept/node`; the rest of the package (headers, npm) is twice its size. @param {string} scratch @param {string} spec */
async function fetchInto(scratch, spec) {
  await npm(["pack", spec, "--pack-destination", scratch], fetchTimeoutMs);
  const archive = (await readdir(scratch)).find((name) => name.endsWith(".tgz"));
  if (archive === undefined) throw new Error(`npm pack ${spec} left no archive`);
  await runBounded("tar", ["-xzf", archive, "package/bin/node"], {
    timeoutMs: commandTimeoutMs,
    cwd: scratch,
  });
  await mkdir(join(scratch, "kept"));
  await rename(join(scratch, "package", "bin", "node"), join(scratch, "kept", "node"));
}

/** @param {readonly string[]} args @param {number} timeoutMs @returns {Promise<string>} */
async function npm(args, timeoutMs) {
  try {
    return (await runBounded("npm", [...args, "--loglevel=error"], { timeoutMs })).trim();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `the newest Node is not to be had: ${reason}; check that npm reaches its registry and try again`,
      { cause: error },
    );
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    console.log((await newestNode()).path);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
