// Servers out of Debian packages, unpacked into the project's cache and run by the unpacked loader with the unpacked libraries, so that
// neither the release of the host nor what is installed on it matters.
// @ts-check
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { gatherInstallation, invocationOfInstallation } from "./installation.mjs";
import { placeFolder, withScratch } from "./place-folder.mjs";
import { debianArchitecture, privateApt } from "./private-apt.mjs";
import { notUnpacked, recipeFor } from "./recipes.mjs";
import { runBounded } from "./run-bounded.mjs";
import { addWheels, proveWheels } from "./wheels.mjs";

/** @typedef {import("./recipes.mjs").ServerName} ServerName */
/** @typedef {import("./private-apt.mjs").PrivateApt} PrivateApt */

/**
 * @typedef {object} UnpackedServer
 * @property {ServerName} name
 * @property {string} version
 * @property {string} folder
 * @property {string} source the package and release it came from
 * @property {string} command
 * @property {string[]} args before the server's own arguments
 */

/**
 * What is written beside the files as the last thing before they are put in place.
 * @typedef {object} Entry
 * @property {number} layout
 * @property {string} version
 * @property {string} architecture
 * @property {string} source
 * @property {string} loader
 * @property {string} program
 * @property {true} [startScript] `program` is a script that starts the real one; always so where it does not lie in bin/
 * @property {true} [plainLoader] the loader cannot set the name that the program sees of itself
 */

export const serversFolder = fileURLToPath(new URL("../../.cache/servers/", import.meta.url));

/** Raised when entries of an older form in a kept cache must be brought again. */
const layout = 1;
const commandTimeoutMs = 60_000;
const firstPingTimeoutMs = 20_000;

/**
 * Newer servers refuse to start when the locale of the environment is not on the machine, and even C.UTF-8 is a file of the release whose
 * C library is used here.
 */
export const unpackedEnv = Object.freeze({ LC_ALL: "C" });

/** Debian's architecture -> its library folder and its loader. */
const platforms = /** @type {Readonly<Record<string, { triplet: string, loader: string }>>} */ ({
  amd64: { triplet: "x86_64-linux-gnu", loader: "ld-linux-x86-64.so.2" },
  arm64: { triplet: "aarch64-linux-gnu", loader: "ld-linux-aarch64.so.1" },
});

/** What the cache holds; fetches nothing. @param {ServerName} name @returns {Promise<UnpackedServer | undefined>} */
export async function cachedServer(name) {
  const folder = join(serversFolder, name);
  const text = await readFile(join(folder, "server.json"), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const entry = /** @type {Entry} */ (JSON.parse(text));
  // A cache kept by CI may come from a machine of another architecture.
  const here = { x64: "amd64", arm64: "arm64" }[/** @type {string} */ (process.arch)];
  if (entry.layout !== layout || entry.architecture !== here) return undefined;
  const invocation = invocationOf(folder, entry);
  return existsSync(invocation.command)
    ? { name, version: entry.version, folder, source: entry.source, ...invocation }
    : undefined;
}

/**
 * Brings those of `names` that the cache lacks; those of one Debian release share its package lists.
 * @param {readonly ServerName[]} names
 * @returns {Promise<Map<ServerName, UnpackedServer | Error>>} the error has a one-line message
 */
export async function bringServers(names) {
  /** @type {Map<ServerName, UnpackedServer | Error>} */
  const answers = new Map();
  for (const name of names) {
    const server = await cachedServer(name);
    if (server !== undefined) answers.set(name, server);
  }
  const absent = names.filter((name) => !answers.has(name));
  if (absent.length === 0) return answers;
  await withScratch(serversFolder, async (scratch) => {
    const aptOf = aptBySuite(scratch);
    const waiting = [...absent];
    const bringNext = async () => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
        answers.set(name, await bringOne({ scratch, name, aptOf }).catch((error) => asError(error)));
      }
    };
    // Most of the time goes into unpacking, so two at a time is about twice as quick and more is not.
    await Promise.all([bringNext(), bringNext()]);
  });
  return answers;
}

/** @param {string} scratch @returns {(suite: string) => Promise<PrivateApt>} one try for each Debian release, also when it failed */
function aptBySuite(scratch) {
  /** @type {Map<string, Promise<PrivateApt>>} */
  const apts = new Map();
  return (suite) => {
    const apt = apts.get(suite) ?? privateApt(join(scratch, `apt-${suite}`), suite);
    apts.set(suite, apt);
    return apt;
  };
}

/** @param {unknown} error */
function asError(error) {
  return error instanceof Error ? error : new Error(String(error));
}

/** @param {{ scratch: string, name: ServerName, aptOf: (suite: string) => Promise<PrivateApt> }} what */
async function bringOne(what) {
  const { scratch, name } = what;
  if (process.platform !== "linux") throw new Error("Debian packages run on Linux only");
  const architecture = await debianArchitecture();
  const platform = platforms[architecture];
  if (platform === undefined)
    throw new Error(`no loader is known here for Debian's architecture ${architecture}`);
  const recipe = recipeFor(name, { architecture, ...platform });
  const { suite, packageName, furtherPackages = [], binary, program, installation, wheels } = recipe;
  const archives = await (await what.aptOf(suite)).download([packageName, ...furtherPackages]);
  const root = join(scratch, `${name}-root`);
  const named = new Set([packageName, ...furtherPackages]);
  for (const archive of archives) {
    const [packaged = ""] = basename(archive).split("_", 1);
    // What holds no machine code is no library, and anything else that is kept is named.
    if (!named.has(packaged) && (archive.endsWith("_all.deb") || notUnpacked.has(packaged))) continue;
    await runBounded("dpkg", ["-x", archive, root], { timeoutMs: commandTimeoutMs });
  }
  const entry = join(scratch, name);
  const further = [...(installation?.programs ?? []), ...(installation?.libraries ?? [])];
  const libraries = unpackedLibraries(root, platform);
  const fetched = wheels === undefined ? [] : await addWheels({ root, wheels, binary, ...libraries });
  const binaries = [binary, ...[...further, ...fetched].map((path) => join("usr", path))];
  await gather({ root, entry, binaries, ...libraries });
  if (installation === undefined) {
    await mkdir(join(entry, "bin"));
    await copyFile(join(root, binary), join(entry, "bin", program));
  } else await gatherInstallation({ root, entry, binary, installation });
  const own = basename(archives.find((archive) => basename(archive).startsWith(`${packageName}_`)) ?? "");
  const packaged = /_(?:\d+:)?(\d[\d.]*)/.exec(decodeURIComponent(own))?.[1];
  const from = `${decodeURIComponent(basename(own, ".deb"))} of Debian ${suite}`;
  const written = {
    layout,
    architecture,
    version: wheels?.version ?? (recipe.versionOfPackage ? packaged : undefined) ?? "",
    source: wheels === undefined ? from : `${wheels.source} on ${from}`,
    loader: join("lib", platform.loader),
    program: installation === undefined ? join("bin", program) : binary.slice("usr/".length),
    ...(installation === undefined ? {} : { startScript: /** @type {const} */ (true) }),
    ...(suite === "bullseye" ? { plainLoader: /** @type {const} */ (true) } : {}),
  };
  if (recipe.answersPing) await provePing(invocationOf(entry, written));
  if (wheels !== undefined)
    await proveWheels(invocationOf(entry, written), join(entry, wheels.folder), wheels);
  await finish(entry, written);
  await placeFolder(entry, join(serversFolder, name), async () => (await cachedServer(name)) !== undefined);
  const server = await cachedServer(name);
  if (server === undefined) throw new Error("it was removed from the cache while it was brought");
  return server;
}

/** @param {string} root @param {{ triplet: string, loader: string }} platform @returns {{ loader: string, folders: string[] }} */
function unpackedLibraries(root, platform) {
  const folders = ["lib", join("usr", "lib")]
    .map((folder) => join(root, folder, platform.triplet))
    .filter((path) => existsSync(path));
  const loader = folders.map((folder) => join(folder, platform.loader)).find((path) => existsSync(path));
  if (loader === undefined) throw new Error(`the unpacked C library has no ${platform.loader}`);
  return { loader, folders };
}

/**
 * Copies the loader and every library that the binaries need into one flat folder: 8 MB instead of 60, and a library that is not among the
 * unpacked ones shows here and not on the first machine that happens to lack it.
 * @param {{ root: string, entry: string, binaries: readonly string[], loader: string, folders: readonly string[] }} what
 */
async function gather(what) {
  const { root, entry, loader, folders } = what;
  await mkdir(join(entry, "lib"), { recursive: true });
  await copyFile(loader, join(entry, "lib", basename(loader)));
  const own = new Set(what.binaries.map((binary) => dirname(join(root, binary))));
  for (const binary of what.binaries) {
    const printed = await runBounded(
      loader,
      ["--inhibit-cache", "--library-path", [...folders, ...own].join(":"), "--list", join(root, binary)],
      { timeoutMs: commandTimeoutMs },
    );
    for (const [, name = "", path = ""] of printed.matchAll(/^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$/gm)) {
      if (basename(name) === basename(loader)) continue;
      // One that lies with the program is brought with its folder.
      if (path.startsWith(`${root}/`) && !folders.includes(dirname(path))) continue;
      if (!path.startsWith(`${root}/`))
        throw new Error(`${basename(binary)} needs ${name}, which its packages do not bring (${path})`);
      await copyFile(path, join(entry, "lib", basename(name)));
    }
  }
}

/** Writes the entry, if the program starts and says its version, which is the server's unless `entry` has that. @param {string} folder @param {Entry} entry */
async function finish(folder, entry) {
  const invocation = invocationOf(folder, entry);
  const printed = await runBounded(invocation.command, [...invocation.args, "--version"], {
    timeoutMs: commandTimeoutMs,
  });
  const version = versionIn(printed);
  if (version === undefined)
    throw new Error(`${basename(entry.program)} --version printed ${JSON.stringify(printed.trim())}`);
  const whole = { ...entry, version: entry.version || version };
  await writeFile(join(folder, "server.json"), `${JSON.stringify(whole, null, 2)}\n`);
}

/**
 * What `--version` of a server says: "v=7.0.15", "postgres (PostgreSQL) 15.20", "Ver 10.11.19-MariaDB", "etcd Version: 3.4.23",
 * "memcached 1.6.18", "Consul v1.8.7", "openjdk 17.0.19", "Python 3.11.2".
 * @param {string} printed
 */
export function versionIn(printed) {
  return /(?:\bv=|\(PostgreSQL\) |\bVer |\bVersion: |^memcached |^Consul v|^openjdk |^Python )(\d[\d.]*)/.exec(
    printed,
  )?.[1];
}

/** @param {{ command: string, args: string[] }} invocation */
async function provePing(invocation) {
  // A UNIX socket in the system's temporary folder: no port to collide on, and a path short enough for one.
  const folder = await mkdtemp(join(tmpdir(), "ql-ping-"));
  const socket = join(folder, "s");
  const server = spawn(
    invocation.command,
    [
      ...invocation.args,
      "--port",
      "0",
      "--unixsocket",
      socket,
      "--dir",
      folder,
      "--save",
      "",
      "--appendonly",
      "no",
    ],
    { stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, ...unpackedEnv } },
  );
  let said = "";
  server.stdout.on("data", (bytes) => (said += String(bytes)));
  const ended = new Promise((resolve) => server.once("error", resolve).once("close", resolve));
  try {
    const deadline = performance.now() + firstPingTimeoutMs;
    while (!(await pings(socket))) {
      if (server.exitCode !== null || server.signalCode !== null) {
        await ended;
        throw new Error(`the unpacked server ended at its first start: ${said.trim().split("\n").at(-1)}`);
      }
      if (performance.now() > deadline)
        throw new Error(`the unpacked server answered no PING within ${firstPingTimeoutMs / 1000} s`);
      await sleep(20);
    }
  } finally {
    server.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param {string} path @returns {Promise<boolean>} */
function pings(path) {
  return new Promise((resolve) => {
    const socket = connect(path, () => socket.write("PING\r\n"));
    const settle = (/** @type {boolean} */ answered) => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(1000, () => settle(false));
    socket.once("data", (data) => settle(data.toString().startsWith("+PONG")));
    socket.once("error", () => settle(false));
    socket.once("close", () => settle(false));
  });
}

/** @param {string} folder @param {Entry} entry */
function invocationOf(folder, entry) {
  if (entry.startScript || !entry.program.startsWith("bin/"))
    return invocationOfInstallation(folder, entry.program);
  // The host's library cache is shut out; the name is set because the server reads from it what it is to be.
  const args = ["--inhibit-cache", "--library-path", join(folder, "lib")];
  const name = entry.plainLoader ? [] : ["--argv0", basename(entry.program)];
  return { command: join(folder, entry.loader), args: [...args, ...name, join(folder, entry.program)] };
}
