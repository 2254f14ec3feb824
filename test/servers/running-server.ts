// A server of its own for a test, of any kind: unused loopback ports, a temporary folder, faults, and no way to outlive the test.
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { resolveServer, type ResolvedServer, type ServerName } from "../../scripts/servers.mjs";
import { freePort } from "./free-port.mjs";
import { logOf, startBody, type Body } from "./server-body.ts";
import { GiveUp, waitUntil } from "./wait-until.ts";

/** What a server finds when it starts again: its folder as it was, or an empty one. */
export type Memory = "kept" | "lost";

export interface RunningServer {
  readonly server: ServerName;
  readonly version: string;
  readonly port: number;
  /** Such as `etcd://127.0.0.1:PORT`, with user and password where there are some. */
  readonly url: string;
  /** Of its first process; another one after {@link restart}. */
  readonly pid: number;
  readonly dir: string;
  /** Whether all it has confirmed is there again after `restart("kept")`. Without that it forgets either way. */
  readonly keepsData: boolean;
  /** SIGSTOP to all its processes: connections stay, nothing is answered. Resolves when they have stopped. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** SIGKILL, frozen or not; resolves when all its processes are gone. The folder stays, for {@link restart}. */
  kill(): Promise<void>;
  /** Kills (if it runs) and starts again on the same port; resolves when it answers. */
  restart(memory: Memory): Promise<void>;
  /** Kills and removes the folder; may be called again and at any time. */
  stop(): Promise<void>;
  /** What the server has printed so far. */
  log(): string;
}

/** How one kind of server is started, emptied and asked. */
export interface Kind {
  readonly server: ServerName;
  /** A given port that is taken is an error; otherwise free ones are looked for. */
  readonly port?: number | undefined;
  /** How many it listens on beside the one that clients use. */
  readonly furtherPorts?: number;
  readonly keepsData: boolean;
  /** What it prints when it cannot have a port. */
  readonly portTaken: RegExp;
  url(seat: Seat): string;
  args(seat: Seat): readonly string[];
  env(seat: Seat): Readonly<Record<string, string>>;
  /** Makes the folder that of a first start. */
  wipe(seat: Seat): Promise<void>;
  /** True when this very server is ready: another may have been quicker to take the port. An error is a no. */
  answers(seat: Seat, body: Body): Promise<boolean>;
}

/** Everything that stays the same over the restarts of one server. */
export interface Seat {
  readonly found: ResolvedServer;
  readonly dir: string;
  readonly port: number;
  readonly furtherPorts: readonly number[];
  /** No other server has it: a name to be recognised by. */
  readonly token: string;
}

export interface Started {
  readonly running: RunningServer;
  readonly seat: Seat;
  /** Resolves when the server answers; rejects after {@link readyTimeoutMs} or when it has ended. */
  ready(): Promise<void>;
}

/** How long a start may take on a busy machine; those that run on Java or Python take the longest. */
export const readyTimeoutMs = 30_000;
const startAttempts = 20;

/** Rejects, with the way to get it, when the server is not to be had; see `needs.ts` for skipping. */
export async function startKind(kind: Kind): Promise<Started> {
  const found = await resolveServer(kind.server);
  if ("missing" in found) throw new Error(found.missing);
  const dir = await mkdtemp(join(tmpdir(), "quorum-lock-server-"));
  try {
    const { seat, body } = await startSomewhere(kind, { found, dir });
    return running({ kind, seat, first: body });
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

async function startSomewhere(
  kind: Kind,
  where: Pick<Seat, "found" | "dir">,
): Promise<{ seat: Seat; body: Body }> {
  for (let attempt = 1; ; attempt += 1) {
    const port = kind.port ?? (await freePort());
    const furtherPorts = await Promise.all(Array.from({ length: kind.furtherPorts ?? 0 }, freePort));
    const seat = { ...where, port, furtherPorts, token: randomBytes(6).toString("hex") };
    // Rare, and no server would say it in words that mean "try another".
    if (new Set([port, ...furtherPorts]).size <= furtherPorts.length) continue;
    await kind.wipe(seat);
    try {
      return { seat, body: await launch(kind, seat) };
    } catch (error) {
      if (!(error instanceof PortTaken) || kind.port !== undefined || attempt === startAttempts) throw error;
    }
  }
}

function running(what: { kind: Kind; seat: Seat; first: Body }): Started {
  const { kind, seat } = what;
  let body = what.first;
  let stopping: Promise<void> | undefined;
  const stopNow = async (): Promise<void> => {
    await body.kill();
    await rm(seat.dir, { recursive: true, force: true });
  };
  const server: RunningServer = {
    server: kind.server,
    version: seat.found.version,
    port: seat.port,
    url: kind.url(seat),
    get pid() {
      return body.pid;
    },
    dir: seat.dir,
    keepsData: kind.keepsData,
    freeze: () => body.freeze(),
    thaw: () => body.thaw(),
    kill: () => body.kill(),
    restart: async (memory) => {
      if (stopping !== undefined) throw new Error(`the server of port ${seat.port} was stopped for good`);
      await body.kill();
      if (memory === "lost") await kind.wipe(seat);
      const next = await launchOnSamePort(kind, seat);
      body = next;
      // A test that failed meanwhile may have stopped the server that was not there yet.
      if (stopping !== undefined) await next.kill();
    },
    stop: () => (stopping ??= stopNow()),
    log: () => readLog(seat.dir),
  };
  return { running: server, seat, ready: () => untilReady({ kind, seat, body }) };
}

/** The port belongs to this server, so whoever has it for the moment will give it back. */
async function launchOnSamePort(kind: Kind, seat: Seat): Promise<Body> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await launch(kind, seat);
    } catch (error) {
      if (!(error instanceof PortTaken) || attempt === startAttempts) throw error;
      await sleep(100);
    }
  }
}

class PortTaken extends Error {
  override name = "PortTaken";
}

async function launch(kind: Kind, seat: Seat): Promise<Body> {
  const logStart = existsSync(logOf(seat.dir)) ? statSync(logOf(seat.dir)).size : 0;
  const body = await startBody({
    server: seat.found,
    args: kind.args(seat),
    env: kind.env(seat),
    dir: seat.dir,
  });
  try {
    await untilReady({ kind, seat, body });
    return body;
  } catch (error) {
    await body.kill();
    // Counted in bytes, and read after the end, so that the reason is not one of an earlier start.
    const said = readFileSync(logOf(seat.dir)).subarray(logStart).toString();
    if (kind.portTaken.test(said)) {
      throw new PortTaken(`port ${seat.port} is taken; the server said:\n${said}`, { cause: error });
    }
    throw error;
  }
}

function untilReady(what: { kind: Kind; seat: Seat; body: Body }): Promise<void> {
  const { kind, seat, body } = what;
  const goal = `${kind.server} on port ${seat.port} ready`;
  const detail = (): string => readLog(seat.dir);
  return waitUntil({ what: goal, timeoutMs: readyTimeoutMs, detail }, async () => {
    if (!(await body.running())) throw new GiveUp(`${goal}: the server has ended; it said:\n${detail()}`);
    return kind.answers(seat, body);
  });
}

function readLog(dir: string): string {
  return existsSync(logOf(dir)) ? readFileSync(logOf(dir), "utf8") : "";
}
