// An apt of our own in a folder: it neither reads the machine's package lists nor writes anything outside the folder, needs no root, and
// still uses the machine's mirror, proxy settings and trusted keys.
// @ts-check
import { existsSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runBounded } from "./run-bounded.mjs";

const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
const lookTimeoutMs = 20_000;
const updateTimeoutMs = 180_000;
const downloadTimeoutMs = 240_000;

/**
 * @typedef {object} PrivateApt
 * @property {(packageNames: readonly string[]) => Promise<string[]>} download fetches the packages with everything they depend on, as for a machine
 *   that has nothing installed; returns the paths of the .deb files, whose checksums apt has compared with the signed lists
 */

/**
 * Package lists of one Debian release, fetched into `folder`.
 * @param {string} folder
 * @param {string} suite
 * @returns {Promise<PrivateApt>}
 */
export async function privateApt(folder, suite) {
  const architecture = await debianArchitecture();
  const config = await machineConfig();
  const reasons = [];
  for (const [index, mirror] of (await debianMirrors()).entries()) {
    const env = await layOut(join(folder, `mirror-${index}`), { architecture, config, mirror, suite });
    try {
      await runBounded("apt-get", ["update", "-qq", "--error-on=any"], { env, timeoutMs: updateTimeoutMs });
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
      continue;
    }
    return oneAtATime((packageNames) => download(join(folder, `mirror-${index}`), env, packageNames));
  }
  throw new Error(
    `no apt source of this machine gave the package lists of Debian ${suite}: ${reasons.join("; ")}`,
  );
}

/** Two would fetch into one folder at once. @param {PrivateApt["download"]} download @returns {PrivateApt} */
function oneAtATime(download) {
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();
  return {
    download: (packageNames) => {
      const next = last.then(() => download(packageNames));
      last = next.catch(() => undefined);
      return next;
    },
  };
}

/** @returns {Promise<string>} Debian's word for it, such as amd64 or arm64 */
export async function debianArchitecture() {
  return (await runBounded("dpkg", ["--print-architecture"], { timeoutMs: lookTimeoutMs })).trim();
}

/** @param {string} folder @param {Readonly<Record<string, string>>} env @param {readonly string[]} packageNames */
async function download(folder, env, packageNames) {
  // Against an empty status file "install" is the whole closure, the C library and its loader included.
  const told = await runBounded("apt-get", ["install", "-q", "-y", "--download-only", ...packageNames], {
    env,
    timeoutMs: downloadTimeoutMs,
  });
  // The folder of the archives also holds what other packages needed.
  const [, list = ""] = /^The following NEW packages will be installed:\n((?: .*\n)+)/m.exec(told) ?? [];
  const needed = new Set(list.trim().split(/\s+/));
  const archives = join(folder, "cache", "archives");
  return (await readdir(archives))
    .filter((name) => name.endsWith(".deb") && needed.has(name.slice(0, name.indexOf("_"))))
    .map((name) => join(archives, name));
}

/**
 * The places this machine takes its own Debian from, most likely first. Asked of apt instead of read from the source files, because there
 * are two formats of those and any number of places for them; --print-uris fetches nothing and works without package lists.
 */
async function debianMirrors() {
  const printed = await runBounded("apt-get", ["update", "--print-uris"], { timeoutMs: lookTimeoutMs });
  /** @type {Map<string, number>} */
  const scores = new Map();
  for (const match of printed.matchAll(/^'([^']+)\/dists\/([^'/]+)\/InRelease'/gm)) {
    const [, base = "", suite = ""] = match;
    if (suite.endsWith("-security")) continue;
    // Debian's own archive is the one with "-updates"; other vendors publish under Debian's release names too.
    scores.set(base, (scores.get(base) ?? 0) + (suite.endsWith("-updates") ? 2 : 1));
  }
  if (scores.size === 0)
    throw new Error("apt has no source on this machine that a Debian mirror could be derived from");
  return [...scores].sort((a, b) => b[1] - a[1]).map(([base]) => base);
}

/** How this machine reaches its mirrors (proxies and the like); hooks and other targets of the machine's apt are left out on purpose. */
async function machineConfig() {
  const dump = await runBounded("apt-config", ["dump"], { timeoutMs: lookTimeoutMs });
  const kept =
    /^Acquire::(https?|ftp|socks\w*|ForceIPv[46]|Check-Valid-Until|Check-Date|Proxy-Auto-Detect)\b/i;
  return dump.split("\n").filter((line) => kept.test(line));
}

/**
 * @param {string} folder
 * @param {{ architecture: string, config: readonly string[], mirror: string, suite: string }} what
 * @returns {Promise<Record<string, string>>} the environment that makes apt use the folder
 */
async function layOut(folder, what) {
  await mkdir(join(folder, "state", "lists", "partial"), { recursive: true });
  await mkdir(join(folder, "cache", "archives", "partial"), { recursive: true });
  await mkdir(join(folder, "log"));
  await writeFile(join(folder, "state", "status"), "");
  // Only the main suite: a point release has nearly everything the security suite has, and these servers listen on loopback in tests.
  const signedBy = existsSync(debianKeyring) ? `[signed-by=${debianKeyring}] ` : "";
  await writeFile(join(folder, "sources.list"), `deb ${signedBy}${what.mirror} ${what.suite} main\n`);
  const settings = {
    "Dir::State": join(folder, "state"),
    "Dir::State::status": join(folder, "state", "status"),
    "Dir::Cache": join(folder, "cache"),
    "Dir::Log": join(folder, "log"),
    "Dir::Etc::sourcelist": join(folder, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::Etc::preferences": "/dev/null",
    "Dir::Etc::preferencesparts": "/dev/null",
    // The machine's own hooks must not run: Debian's container images delete the system's downloads in one.
    "Dir::Etc::main": "/dev/null",
    "Dir::Etc::parts": "/dev/null",
    "APT::Architecture": what.architecture,
    "APT::Architectures": what.architecture,
    "APT::Install-Recommends": "0",
    // As root apt would fetch as another user, who may not be able to enter the project's folder.
    "APT::Sandbox::User": "",
    "Acquire::Languages": "none",
    "Acquire::Retries": "1",
    "Acquire::http::Timeout": "20",
    "Acquire::https::Timeout": "20",
    // The locks guard a state that others share; nobody shares this one.
    "Debug::NoLocking": "1",
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key} "${value}";`);
  const path = join(folder, "apt.conf");
  await writeFile(path, [...what.config, ...lines, ""].join("\n"));
  return { APT_CONFIG: path, DEBIAN_FRONTEND: "noninteractive" };
}
