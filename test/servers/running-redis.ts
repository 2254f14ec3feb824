// A server of its own for a test: an unused loopback port, a temporary folder, faults, and no way to outlive the test.
import { existsSync, readFileSync, statSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { resolveServer, type ResolvedServer, type ServerName } from "../../scripts/servers.mjs";
import { freePort } from "./free-port.ts";
import { respCall, type Reply } from "./resp-call.ts";
import { logOf, startBody, type Body } from "./server-body.ts";
import { GiveUp, waitUntil } from "./wait-until.ts";

export interface RunningRedis {
  readonly server: ServerName;
  readonly version: string;
  readonly port: number;
  /** `redis://127.0.0.1:PORT`, with the password if one was asked for. */
  readonly url: string;
  /** The server's own; another one after {@link restart}. */
  readonly pid: number;
  readonly dir: string;
  /** What `AUTH` takes for full rights, or `undefined` where none is needed. */
  readonly auth: readonly string[] | undefined;
  /** SIGSTOP: connections stay, nothing is answered. Resolves when the server has stopped. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** SIGKILL; resolves when the process is gone. The folder stays, for {@link restart}. */
  kill(): Promise<void>;
  /** Kills (if it runs) and starts again on the same port; resolves when it answers. `empty` forgets all data. */
  restart(how: { empty: boolean }): Promise<void>;
  /** Kills and removes the folder; may be called again and at any time. */
  stop(): Promise<void>;
  /** Resolves when the server answers and has loaded its data; rejects after 15 s or when it has ended. */
  ready(): Promise<void>;
  /** One command over a fresh connection without any client library; rejects with `ReplyError` and after 5 s. */
  cli(...args: (string | number)[]): Promise<Reply>;
  /** What the server has printed so far. */
  log(): string;
}

export interface Configured {
  server: ServerName;
  /** Beside port, address and folder, which are set here. */
  confLines: readonly string[];
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  port: number | undefined;
  auth: readonly string[] | undefined;
  credentials: string;
}

/** The general form; sentinels go through it too. */
export async function startConfigured(what: Configured): Promise<RunningRedis> {
  const server = await resolveServer(what.server);
  if ("missing" in server) throw new Error(server.missing);
  const dir = await mkdtemp(join(tmpdir(), "quorum-lock-server-"));
  try {
    const { seat, body } = await startSomewhere({ ...what, found: server, dir });
    return running(seat, body);
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

/** Everything that stays the same over the restarts of one server. */
interface Seat extends Omit<Configured, "port"> {
  found: ResolvedServer;
  dir: string;
  port: number;
}

const readyTimeoutMs = 15_000;
const cliTimeoutMs = 5000;
const probeTimeoutMs = 1000;
const startAttempts = 20;

async function startSomewhere(
  what: Omit<Seat, "port"> & Pick<Configured, "port">,
): Promise<{ seat: Seat; body: Body }> {
  for (let attempt = 1; ; attempt += 1) {
    const seat: Seat = { ...what, port: what.port ?? (await freePort()) };
    await wipe(seat);
    try {
      return { seat, body: await launch(seat) };
    } catch (error) {
      if (!(error instanceof PortTaken) || what.port !== undefined || attempt === startAttempts) throw error;
    }
  }
}

function running(seat: Seat, first: Body): RunningRedis {
  let body = first;
  let stopping: Promise<void> | undefined;
  const stopNow = async (): Promise<void> => {
    await body.kill();
    await rm(seat.dir, { recursive: true, force: true });
  };
  return {
    server: seat.server,
    version: seat.found.version,
    port: seat.port,
    url: `redis://${seat.credentials}127.0.0.1:${seat.port}`,
    get pid() {
      return body.pid;
    },
    dir: seat.dir,
    auth: seat.auth,
    freeze: () => body.freeze(),
    thaw: () => body.thaw(),
    kill: () => body.kill(),
    restart: async ({ empty }) => {
      if (stopping !== undefined) throw new Error(`the server of port ${seat.port} was stopped for good`);
      await body.kill();
      if (empty) await wipe(seat);
      const next = await launchOnSamePort(seat);
      body = next;
      // A test that failed meanwhile may have stopped the server that was not there yet.
      if (stopping !== undefined) await next.kill();
    },
    stop: () => (stopping ??= stopNow()),
    ready: () => untilReady(seat, body),
    cli: (...args) => respCall({ port: seat.port, timeoutMs: cliTimeoutMs, auth: seat.auth }, args),
    log: () => readLog(seat.dir),
  };
}

/** The port belongs to this server, so whoever has it for the moment will give it back. */
async function launchOnSamePort(seat: Seat): Promise<Body> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await launch(seat);
    } catch (error) {
      if (!(error instanceof PortTaken) || attempt === startAttempts) throw error;
      await sleep(100);
    }
  }
}

class PortTaken extends Error {
  override name = "PortTaken";
}

async function launch(seat: Seat): Promise<Body> {
  const logStart = existsSync(logOf(seat.dir)) ? statSync(logOf(seat.dir)).size : 0;
  const body = await startBody({
    server: seat.found,
    args: [confOf(seat), ...seat.args],
    env: seat.env,
    dir: seat.dir,
  });
  try {
    await untilReady(seat, body);
    return body;
  } catch (error) {
    await body.kill();
    // Counted in bytes, and read after the end, so that the reason is not one of an earlier start.
    const said = readFileSync(logOf(seat.dir)).subarray(logStart).toString();
    if (said.includes("Address already in use")) {
      throw new PortTaken(`port ${seat.port} is taken; the server said:\n${said}`, { cause: error });
    }
    throw error;
  }
}

/** The answer must come from this very server: another may have been quicker to take the port. */
function untilReady(seat: Seat, body: Body): Promise<void> {
  const what = `${seat.server} on port ${seat.port} ready`;
  const detail = (): string => readLog(seat.dir);
  return waitUntil({ what, timeoutMs: readyTimeoutMs, detail }, async () => {
    if (!(await body.running())) throw new GiveUp(`${what}: the server has ended; it said:\n${detail()}`);
    const info = await respCall({ port: seat.port, timeoutMs: probeTimeoutMs, auth: seat.auth }, [
      "INFO",
      "server",
    ]);
    if (!String(info).includes(`config_file:${confOf(seat)}`)) return false;
    // INFO is answered while data is still being loaded; PING is not. A sentinel answers both at once.
    return (
      (await respCall({ port: seat.port, timeoutMs: probeTimeoutMs, auth: seat.auth }, ["PING"])) === "PONG"
    );
  });
}

function confOf(seat: Pick<Seat, "dir">): string {
  return join(seat.dir, "server.conf");
}

/** The state of a first start. The configuration counts as data: sentinels write what they learn into it. */
async function wipe(seat: Seat): Promise<void> {
  const data = join(seat.dir, "data");
  await rm(data, { recursive: true, force: true });
  await mkdir(data);
  const lines = [`port ${seat.port}`, "bind 127.0.0.1", `dir ${quoted(data)}`, ...seat.confLines];
  await writeFile(confOf(seat), `${lines.join("\n")}\n`);
}

/** A string as the server's configuration file wants it. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}

function readLog(dir: string): string {
  return existsSync(logOf(dir)) ? readFileSync(logOf(dir), "utf8") : "";
}
