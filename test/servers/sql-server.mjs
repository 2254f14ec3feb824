// A PostgreSQL or MariaDB of its own for a test or a benchmark: an unused loopback port, a temporary folder, and no way to outlive its
// starter. Plain JavaScript, because benchmarks run it too and Node 20 runs no TypeScript.
// @ts-check
import { execFile } from "node:child_process";
import { chownSync, closeSync, cpSync, mkdirSync, openSync, readFileSync, readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { resolveServer } from "../../scripts/servers.mjs";
import { signal, startGuarded } from "./guarded-process.mjs";

/** @typedef {import("../../scripts/servers.mjs").ResolvedServer} ResolvedServer */

/**
 * @typedef {object} RunningSql
 * @property {"postgres" | "mariadb"} server
 * @property {string} version
 * @property {number} port
 * @property {string} url for a user with all rights on a database of the server's own
 * @property {number} pid
 * @property {string} dir
 * @property {() => string} log what the server has printed so far
 * @property {() => void} freeze stops all its processes where they are
 * @property {() => void} thaw lets them go on
 * @property {() => Promise<void>} kill ends all its processes with kill -9
 * @property {(moreArgs?: readonly string[]) => Promise<void>} restart starts it again at the same port with the same data, after a kill if it
 *   runs; resolves when it answers
 * @property {() => Promise<void>} stop kills it and removes the folder; may be called again
 */

/**
 * @typedef {object} Plan
 * @property {"postgres" | "mariadb"} server
 * @property {ResolvedServer} found
 * @property {number | undefined} uid who runs it
 * @property {string} url without the port, which stands as PORT
 * @property {readonly string[]} args
 */

const run = promisify(execFile);
const readyTimeoutMs = 20_000;
const initTimeoutMs = 60_000;
const startAttempts = 20;

/** Debian's number for the user "nobody", who exists everywhere; only the number matters. */
const unprivilegedUid = 65_534;

/**
 * PostgreSQL with `trust` on loopback. It refuses to run as root, who then runs it as an unprivileged user.
 * @param {{ args?: readonly string[], uid?: number }} [options] further arguments; `uid` for a test of this harness
 * @returns {Promise<RunningSql>}
 */
export async function startPostgres(options = {}) {
  const found = await foundServer("postgres");
  const uid = options.uid ?? (process.getuid?.() === 0 ? unprivilegedUid : undefined);
  const dir = await ownFolder(uid);
  return orRemove(dir, async () => {
    const command = await reachable(found, { dir, uid });
    const init = [
      "-D",
      join(dir, "data"),
      "-A",
      "trust",
      "-U",
      "postgres",
      "-E",
      "UTF8",
      "--no-locale",
      "--no-sync",
    ];
    const as = uid === undefined ? {} : { uid, gid: uid };
    const initdb = join(dirname(command), "initdb");
    await run(initdb, init, {
      cwd: dir,
      timeout: initTimeoutMs,
      env: { ...process.env, ...found.env },
      ...as,
    });
    const args = ["-D", join(dir, "data"), "-h", "127.0.0.1", "-k", dir, "-c", "shared_buffers=32MB"];
    return start(dir, {
      server: "postgres",
      found: { ...found, command },
      uid,
      url: "postgres://postgres@127.0.0.1:PORT/postgres",
      args: [...args, "-c", "max_connections=60", ...(options.args ?? [])],
    });
  });
}

/**
 * MariaDB with InnoDB and a user "test" who may do everything.
 * @param {{ args?: readonly string[] }} [options] further arguments
 * @returns {Promise<RunningSql>}
 */
export async function startMariadb(options = {}) {
  const found = await foundServer("mariadb");
  const dir = await ownFolder(undefined);
  return orRemove(dir, async () => {
    const top = dirname(dirname(found.command));
    const share = join(top, "share", "mysql");
    const data = join(dir, "data");
    mkdirSync(data);
    const where = [
      "--no-defaults",
      `--basedir=${top}`,
      `--datadir=${data}`,
      `--lc-messages-dir=${share}`,
      `--character-sets-dir=${join(share, "charsets")}`,
      `--pid-file=${join(dir, "pid")}`,
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
    const bootstrap = run(found.command, [...where, "--bootstrap"], {
      cwd: dir,
      timeout: initTimeoutMs,
      env: { ...process.env, ...found.env },
    });
    bootstrap.child.stdin?.end(`CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n${sql}`);
    await bootstrap;
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
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const portArgs = plan.server === "postgres" ? ["-p", String(port)] : [`--port=${port}`];
    /** @param {readonly string[]} [moreArgs] */
    const launch = (moreArgs = []) => {
      const output = openSync(join(dir, "server.log"), "a");
      const launched = startGuarded(
        {
          command: plan.found.command,
          args: [...plan.args, ...portArgs, ...moreArgs],
          env: plan.found.env,
          uid: plan.uid,
        },
        { folder: dir, output },
      );
      closeSync(output);
      return launched;
    };
    const log = () => readFileSync(join(dir, "server.log"), "utf8");
    let child = launch();
    const kill = async () => {
      const others = childrenOf(child.pid);
      if (child.running()) signal(child.pid, "SIGKILL");
      // Not `ended`: nothing else may keep this process alive meanwhile.
      while (child.running()) await sleep(5);
      // PostgreSQL's own children notice it and end by themselves; until then they write.
      for (
        let tries = 0;
        tries < 500 && others.some((pid) => signal(pid, /** @type {never} */ (0)));
        tries += 1
      )
        await sleep(10);
    };
    try {
      await untilReady({ child, port, log, server: plan.server });
    } catch (error) {
      await kill();
      if (/address already in use|Can't start server: Bind/i.test(log()) && attempt < startAttempts) continue;
      throw error;
    }
    /** @type {Promise<void> | undefined} */
    let stopping;
    /** @type {boolean} */
    let stopped = false;
    /** @param {NodeJS.Signals} name */
    const signalAll = (name) => {
      for (const pid of [child.pid, ...childrenOf(child.pid)]) signal(pid, name);
    };
    /** @param {readonly string[]} [moreArgs] */
    const restart = async (moreArgs = []) => {
      await kill();
      if (stopped) throw new Error("the server was stopped");
      const before = log().length;
      child = launch(moreArgs);
      await untilReady({ child, port, log: () => log().slice(before), server: plan.server });
    };
    const stop = async () => {
      stopped = true;
      await kill();
      await rm(dir, { recursive: true, force: true });
    };
    return {
      server: plan.server,
      version: plan.found.version,
      port,
      url: plan.url.replace("PORT", String(port)),
      get pid() {
        return child.pid;
      },
      dir,
      log,
      freeze: () => signalAll("SIGSTOP"),
      thaw: () => signalAll("SIGCONT"),
      kill,
      restart,
      stop: () => (stopping ??= stop()),
    };
  }
}

/** @param {number} pid @returns {number[]} */
function childrenOf(pid) {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((each) => {
      try {
        const stat = readFileSync(`/proc/${each}/stat`, "latin1");
        return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid;
      } catch {
        return false;
      }
    });
}

/** @param {{ child: import("./guarded-process.mjs").GuardedProcess, port: number, log: () => string, server: "postgres" | "mariadb" }} what */
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

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = /** @type {import("node:net").AddressInfo} */ (probe.address());
      probe.close(() => resolve(address.port));
    });
  });
}
