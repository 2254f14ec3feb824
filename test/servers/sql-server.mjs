// A PostgreSQL or MariaDB of its own for a test or a benchmark: an unused loopback port, a temporary folder, and no way to outlive its
// starter. Plain JavaScript, because benchmarks run it too and Node 20 runs no TypeScript.
// @ts-check
import { execFile } from "node:child_process";
import { chownSync, closeSync, cpSync, fstatSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { resolveServer } from "../../scripts/servers.mjs";
import { freePort } from "./free-port.mjs";
import { startGuarded } from "./guarded-process.mjs";
import { freezeTree, killTree, thawTree } from "./process-tree.mjs";

/** @typedef {import("../../scripts/servers.mjs").ResolvedServer} ResolvedServer */
/** @typedef {import("./guarded-process.mjs").GuardedProcess} GuardedProcess */
/** @typedef {{ dir: string, plan: Plan, port: number }} Place */

/**
 * @typedef {object} RunningSql
 * @property {"postgres" | "mariadb"} server
 * @property {string} version
 * @property {number} port
 * @property {string} url for a user with all rights on a database of the server's own
 * @property {number} pid of its first process; another one after `restart`
 * @property {string} dir
 * @property {true} keepsData
 * @property {() => Promise<void>} freeze SIGSTOP to all its processes; resolves when they have stopped
 * @property {() => Promise<void>} thaw
 * @property {() => Promise<void>} kill SIGKILL, frozen or not; resolves when all its processes are gone
 * @property {(memory: "kept" | "lost") => Promise<void>} restart kills (if it runs) and starts again on the same port, with its data or
 *   with none
 * @property {() => string} log what the server has printed so far
 * @property {() => Promise<void>} stop kills it and removes the folder; may be called again
 */

/**
 * @typedef {object} SqlOptions
 * @property {readonly string[]} [args] further arguments
 * @property {number} [port] default: one that is free
 * @property {Readonly<Record<string, string>>} [env] laid over this process's environment
 */

/**
 * @typedef {object} Plan
 * @property {"postgres" | "mariadb"} server
 * @property {ResolvedServer} found
 * @property {number | undefined} uid who runs it
 * @property {string} url without the port, which stands as PORT
 * @property {readonly string[]} args
 * @property {Readonly<Record<string, string>>} env
 * @property {number | undefined} port
 * @property {() => Promise<void>} wipe makes the data folder that of a first start
 */

const run = promisify(execFile);
const readyTimeoutMs = 20_000;
const initTimeoutMs = 60_000;
const startAttempts = 20;

/** Debian's number for the user "nobody", who exists everywhere; only the number matters. */
const unprivilegedUid = 65_534;

/**
 * PostgreSQL with `trust` on loopback. It refuses to run as root, who then runs it as an unprivileged user.
 * @param {SqlOptions & { uid?: number }} [options] `uid` for a test of this harness
 * @returns {Promise<RunningSql>}
 */
export async function startPostgres(options = {}) {
  const found = await foundServer("postgres");
  const uid = options.uid ?? (process.getuid?.() === 0 ? unprivilegedUid : undefined);
  const dir = await ownFolder(uid);
  return orRemove(dir, async () => {
    const command = await reachable(found, { dir, uid });
    const data = join(dir, "data");
    const init = ["-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync"];
    const as = uid === undefined ? {} : { uid, gid: uid };
    const initdb = join(dirname(command), "initdb");
    const args = ["-D", data, "-h", "127.0.0.1", "-k", dir, "-c", "shared_buffers=32MB"];
    return start(dir, {
      server: "postgres",
      found: { ...found, command },
      uid,
      url: "postgres://postgres@127.0.0.1:PORT/postgres",
      args: [...args, "-c", "max_connections=60", ...(options.args ?? [])],
      env: options.env ?? {},
      port: options.port,
      wipe: async () => {
        await rm(data, { recursive: true, force: true });
        await run(initdb, init, {
          cwd: dir,
          timeout: initTimeoutMs,
          env: { ...process.env, ...found.env },
          ...as,
        });
      },
    });
  });
}

/**
 * MariaDB with InnoDB and a user "test" who may do everything.
 * @param {SqlOptions} [options]
 * @returns {Promise<RunningSql>}
 */
export async function startMariadb(options = {}) {
  const found = await foundServer("mariadb");
  const dir = await ownFolder(undefined);
  return orRemove(dir, async () => {
    const top = dirname(dirname(found.command));
    const share = join(top, "share", "mysql");
    const data = join(dir, "data");
    const where = [
      "--no-defaults",
      `--basedir=${top}`,
      `--datadir=${data}`,
      `--lc-messages-dir=${share}`,
      `--character-sets-dir=${join(share, "charsets")}`,
      `--pid-file=${join(dir, "pid")}`,
      // In a shared one every start removes the tables of the others.
      `--tmpdir=${dir}`,
      "--innodb-buffer-pool-size=64M",
      "--innodb-log-file-size=16M",
      // It takes root only when told so.
      ...(process.getuid?.() === 0 ? ["--user=root"] : []),
    ];
    const tables = [
      "mysql_system_tables.sql",
      "mysql_performance_tables.sql",
      "mysql_system_tables_data.sql",
    ];
    const sql = tables.map((file) => readFileSync(join(share, file), "utf8")).join("\n");
    const users = join(dir, "users.sql");
    await writeFile(
      users,
      "CREATE DATABASE IF NOT EXISTS test;\nCREATE USER IF NOT EXISTS test@'%';\nGRANT ALL ON *.* TO test@'%' WITH GRANT OPTION;\n",
    );
    return start(dir, {
      server: "mariadb",
      found,
      uid: undefined,
      url: "mysql://test@127.0.0.1:PORT/test",
      args: [
        ...where,
        "--bind-address=127.0.0.1",
        `--socket=${join(dir, "socket")}`,
        "--skip-name-resolve",
        `--init-file=${users}`,
        ...(options.args ?? []),
      ],
      env: options.env ?? {},
      port: options.port,
      wipe: async () => {
        await rm(data, { recursive: true, force: true });
        mkdirSync(data);
        const bootstrap = run(found.command, [...where, "--bootstrap"], {
          cwd: dir,
          timeout: initTimeoutMs,
          env: { ...process.env, ...found.env },
        });
        bootstrap.child.stdin?.end(`CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n${sql}`);
        await bootstrap;
      },
    });
  });
}

/** @param {"postgres" | "mariadb"} name */
async function foundServer(name) {
  const found = await resolveServer(name);
  if ("missing" in found) throw new Error(found.missing);
  return found;
}

/** @param {number | undefined} uid */
async function ownFolder(uid) {
  const dir = await mkdtemp(join(tmpdir(), "quorum-lock-server-"));
  if (uid !== undefined) chownSync(dir, uid, uid);
  return dir;
}

/** @template T @param {string} dir @param {() => Promise<T>} build */
async function orRemove(dir, build) {
  try {
    return await build();
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

/**
 * The program at a place where the user who is to run it can read it: a checkout may lie in a folder that is closed to others.
 * @param {ResolvedServer} found @param {{ dir: string, uid: number | undefined }} where
 */
async function reachable(found, where) {
  const { dir, uid } = where;
  if (uid === undefined) return found.command;
  try {
    await run(found.command, ["--version"], { uid, gid: uid, cwd: "/", timeout: initTimeoutMs });
    return found.command;
  } catch {
    // …/lib/postgresql/15/bin/postgres
    const top = dirname(dirname(dirname(dirname(dirname(found.command)))));
    cpSync(top, join(dir, "program"), { recursive: true });
    return join(dir, "program", found.command.slice(top.length));
  }
}

/** @param {string} dir @param {Plan} plan @returns {Promise<RunningSql>} */
async function start(dir, plan) {
  await plan.wipe();
  const { port, process: first } = await startSomewhere(dir, plan);
  let current = first;
  /** @type {Promise<void> | undefined} */
  let stopping;
  const stopNow = async () => {
    await kill(current);
    await rm(dir, { recursive: true, force: true });
  };
  return {
    server: plan.server,
    version: plan.found.version,
    port,
    url: plan.url.replace("PORT", String(port)),
    get pid() {
      return current.pid;
    },
    dir,
    keepsData: true,
    freeze: async () => {
      if (!current.running()) throw new Error(`server ${current.pid} is not running and cannot be frozen`);
      await freezeTree(current.pid);
    },
    thaw: async () => {
      if (current.running()) thawTree(current.pid);
    },
    kill: () => kill(current),
    restart: async (memory) => {
      if (stopping !== undefined) throw new Error(`the server of port ${port} was stopped for good`);
      await kill(current);
      if (memory === "lost") await plan.wipe();
      const next = await startOnSamePort({ dir, plan, port });
      current = next;
      // A test that failed meanwhile may have stopped the server that was not there yet.
      if (stopping !== undefined) await kill(next);
    },
    log: () => logIn(dir),
    stop: () => (stopping ??= stopNow()),
  };
}

/** @param {string} dir @param {Plan} plan @returns {Promise<{ port: number, process: GuardedProcess }>} */
async function startSomewhere(dir, plan) {
  for (let attempt = 1; ; attempt += 1) {
    const port = plan.port ?? (await freePort());
    try {
      return { port, process: await launch({ dir, plan, port }) };
    } catch (error) {
      if (!(error instanceof PortTaken) || plan.port !== undefined || attempt === startAttempts) throw error;
    }
  }
}

/** The port belongs to this server, so whoever has it for the moment will give it back. @param {Place} place */
async function startOnSamePort(place) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await launch(place);
    } catch (error) {
      if (!(error instanceof PortTaken) || attempt === startAttempts) throw error;
      await sleep(100);
    }
  }
}

class PortTaken extends Error {
  /** @override */
  name = "PortTaken";
}

/** @param {Place} place @returns {Promise<GuardedProcess>} */
async function launch(place) {
  const { dir, plan, port } = place;
  const output = openSync(join(dir, "server.log"), "a");
  const logStart = fstatSync(output).size;
  const portArgs = plan.server === "postgres" ? ["-p", String(port)] : [`--port=${port}`];
  const started = startGuarded(
    {
      command: plan.found.command,
      args: [...plan.args, ...portArgs],
      env: { ...plan.found.env, ...plan.env },
      uid: plan.uid,
    },
    { folder: dir, output },
  );
  closeSync(output);
  // Of this start only: an earlier one said that it was ready, too.
  const log = () => readFileSync(join(dir, "server.log")).subarray(logStart).toString();
  try {
    await untilReady({ child: started, port, log, server: plan.server });
    return started;
  } catch (error) {
    await kill(started);
    if (/address already in use|Can't start server: Bind/i.test(log()))
      throw new PortTaken(`port ${port} is taken; the server said:\n${log()}`, { cause: error });
    throw error;
  }
}

/** @param {GuardedProcess} server */
async function kill(server) {
  if (server.running()) await killTree(server.pid);
  // Not `ended`: nothing else may keep this process alive meanwhile.
  while (server.running()) await sleep(5);
}

/** @param {string} dir */
function logIn(dir) {
  try {
    return readFileSync(join(dir, "server.log"), "utf8");
  } catch {
    return "";
  }
}

/** @param {{ child: GuardedProcess, port: number, log: () => string, server: "postgres" | "mariadb" }} what */
async function untilReady(what) {
  const deadlineMs = performance.now() + readyTimeoutMs;
  const phrase =
    what.server === "postgres"
      ? /database system is ready to accept (read-only )?connections/
      : /ready for connections/;
  for (;;) {
    if (!what.child.running()) throw new Error(`${what.server} has ended; it said:\n${what.log()}`);
    if (phrase.test(what.log()) && (await accepts(what.port))) return;
    if (performance.now() > deadlineMs)
      throw new Error(`${what.server} was not ready within ${readyTimeoutMs} ms; it said:\n${what.log()}`);
    await sleep(10);
  }
}

/** @param {number} port @returns {Promise<boolean>} */
function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
