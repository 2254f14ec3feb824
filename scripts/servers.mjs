#!/usr/bin/env node
// Real servers for the tests, without root and without touching the system.
//
//   node scripts/servers.mjs              brings all of them
//   node scripts/servers.mjs redis-7      brings one
//   node scripts/servers.mjs --list       says what is there, fetches nothing
//
// QUORUM_LOCK_SERVERS=debian|docker|path takes them from there and nowhere else.
// @ts-check
import { realpathSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { bringServers, cachedServer, unpackedEnv, versionIn } from "./servers/debian-packages.mjs";
import { isServerName, recipes, serverNames } from "./servers/recipes.mjs";
import { runBounded } from "./servers/run-bounded.mjs";

/** @typedef {import("./servers/recipes.mjs").ServerName} ServerName */
/** @typedef {import("./servers/debian-packages.mjs").UnpackedServer} UnpackedServer */

/**
 * A server that can be started: `command` with `args`, then the server's own arguments. With origin "docker" that is the command for a
 * person, and `image` is what the test harness starts.
 * @typedef {object} ResolvedServer
 * @property {ServerName} name
 * @property {string} version
 * @property {string} command
 * @property {string[]} args
 * @property {Record<string, string>} env to be laid over the environment of the starting process
 * @property {"debian-packages" | "docker" | "path"} origin
 * @property {string} source for people: which packages, image or program
 * @property {string} [image]
 */

/** @typedef {{ missing: string }} MissingServer why it is not to be had, and what would help; one line */

/** @typedef {"debian" | "docker" | "path"} Origin */

const dockerTimeoutMs = 3000;
const pullTimeoutMs = 300_000;
const versionTimeoutMs = 10_000;

/** @type {Map<ServerName, Promise<ResolvedServer | MissingServer>>} */
const resolved = new Map();

/**
 * Finds a server, bringing its Debian packages if need be (seconds, once). The answer is remembered for this process, a "missing" too, so
 * that a machine without network waits once. Rejects only when QUORUM_LOCK_SERVERS has a word it does not know.
 * @param {ServerName} name
 * @returns {Promise<ResolvedServer | MissingServer>}
 */
export function resolveServer(name) {
  const known =
    resolved.get(name) ?? resolveTogether([name]).then(([answer]) => /** @type {ResolvedServer} */ (answer));
  resolved.set(name, known);
  return known;
}

/** @param {readonly ServerName[]} names @returns {Promise<(ResolvedServer | MissingServer)[]>} in the order of `names` */
async function resolveTogether(names) {
  const origins = originsInOrder();
  const unpacked = origins.includes("debian") ? await bringServers(names) : new Map();
  return Promise.all(names.map((name) => firstOf(originsFor(name, origins), name, unpacked.get(name))));
}

/** @param {readonly Origin[]} origins @param {ServerName} name @param {UnpackedServer | Error | undefined} unpacked */
async function firstOf(origins, name, unpacked) {
  const reasons = [];
  for (const origin of origins) {
    try {
      return await from[origin](name, unpacked);
    } catch (error) {
      reasons.push(`${origin}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const { program, image, onlyFromPackages } = recipes[name];
  const elsewhere = `, or start Docker (${image}), or install ${program} and set QUORUM_LOCK_SERVERS=path`;
  const help = `get it with \`node scripts/servers.mjs ${name}\` on Debian with network${onlyFromPackages ? "" : elsewhere}`;
  return { missing: `${name} is missing (${reasons.join(" | ")}); ${help}`.replaceAll("\n", " ") };
}

/** @returns {readonly Origin[]} */
function originsInOrder() {
  const forced = process.env["QUORUM_LOCK_SERVERS"];
  switch (forced) {
    case undefined:
    case "":
      // Whatever happens to be installed is good enough for a look at home, not for a verdict.
      return isCi() ? ["debian", "docker"] : ["debian", "docker", "path"];
    case "debian":
    case "docker":
    case "path":
      return [forced];
    default:
      throw new Error(`QUORUM_LOCK_SERVERS must be debian, docker or path, not ${JSON.stringify(forced)}`);
  }
}

/** The product itself rather than what stands in for it. @param {ServerName} name @param {readonly Origin[]} origins @returns {readonly Origin[]} */
function originsFor(name, origins) {
  if (!recipes[name].standsIn) return origins;
  return [
    ...origins.filter((origin) => origin !== "debian"),
    ...origins.filter((origin) => origin === "debian"),
  ];
}

/** In CI a missing server is a failure, elsewhere a skip. */
export function isCi() {
  const value = process.env["CI"];
  return value !== undefined && value !== "" && value !== "false" && value !== "0";
}

/** @type {Readonly<Record<Origin, (name: ServerName, unpacked: UnpackedServer | Error | undefined) => Promise<ResolvedServer>>>} */
const from = {
  async debian(name, unpacked) {
    if (unpacked instanceof Error) throw unpacked;
    if (unpacked === undefined) throw new Error("nothing was brought");
    const { version, command, args, source } = unpacked;
    return { name, version, command, args, env: unpackedEnv, origin: "debian-packages", source };
  },

  async docker(name) {
    refuseIfOnlyFromPackages(name);
    await runBounded("docker", ["info", "--format", "{{.ServerVersion}}"], { timeoutMs: dockerTimeoutMs });
    const { image } = recipes[name];
    // Fetched here, where time is allowed for it, and not inside the first test that starts it.
    const present = runBounded("docker", ["image", "inspect", image], { timeoutMs: dockerTimeoutMs });
    await present.catch(() => runBounded("docker", ["pull", "--quiet", image], { timeoutMs: pullTimeoutMs }));
    const args = ["run", "--rm", "--network", "host", image];
    const version = image.slice(image.indexOf(":") + 1);
    return {
      name,
      version,
      command: "docker",
      args,
      env: {},
      origin: "docker",
      source: `image ${image}`,
      image,
    };
  },

  async path(name) {
    refuseIfOnlyFromPackages(name);
    const { program } = recipes[name];
    const printed = await runBounded(program, ["--version"], { timeoutMs: versionTimeoutMs });
    const version = versionIn(printed);
    if (version === undefined)
      throw new Error(`${program} --version printed ${JSON.stringify(printed.trim())}`);
    // A test that names a version is about that version.
    const named = /-([\d.]+)$/.exec(name)?.[1];
    if (named !== undefined && !`${version}.`.startsWith(`${named}.`))
      throw new Error(`the ${program} on PATH is ${version}, not ${named}`);
    return {
      name,
      version,
      command: program,
      args: [],
      env: {},
      origin: "path",
      source: `${program} on PATH`,
    };
  },
};

/** @param {ServerName} name */
function refuseIfOnlyFromPackages(name) {
  if (recipes[name].onlyFromPackages)
    throw new Error("the test harness runs this server from Debian packages only");
}

/** @param {readonly string[]} words @returns {Promise<number>} the exit code */
async function main(words) {
  const list = words.includes("--list");
  const unknown = words.filter((word) => word !== "--list" && !isServerName(word));
  if (unknown.length > 0) {
    console.error(
      `usage: node scripts/servers.mjs [--list] [${serverNames.join(" | ")}]; unknown: ${unknown.join(" ")}`,
    );
    return 2;
  }
  const asked = words.filter(isServerName);
  const names = asked.length > 0 ? asked : serverNames;
  if (list) {
    for (const name of names) console.log(await listed(name));
    return 0;
  }
  const answers = await resolveTogether(names);
  for (const answer of answers) console.log("missing" in answer ? answer.missing : await brought(answer));
  return answers.some((answer) => "missing" in answer) ? 1 : 0;
}

/** @param {ServerName} name */
async function listed(name) {
  const server = await cachedServer(name);
  if (server === undefined) return `${name}  not here; get it with: node scripts/servers.mjs ${name}`;
  return [name, server.version, relative(process.cwd(), server.folder), server.source].join("  ");
}

/** @param {ResolvedServer} server */
async function brought(server) {
  const cached = server.origin === "debian-packages" ? await cachedServer(server.name) : undefined;
  const where = cached === undefined ? server.command : relative(process.cwd(), cached.folder);
  return [server.name, server.version, where, server.source].join("  ");
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
