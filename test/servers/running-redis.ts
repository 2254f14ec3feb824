// A Redis or Valkey of its own for a test; a sentinel is one too.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ServerName } from "../../scripts/servers.mjs";
import { respCall, type Reply } from "./resp-call.ts";
import { startKind, type Memory, type RunningServer, type Seat } from "./running-server.ts";

export interface RunningRedis extends RunningServer {
  /** What `AUTH` takes for full rights, or `undefined` where none is needed. */
  readonly auth: readonly string[] | undefined;
  /** As for every server; `{ empty: true }` is "lost" and `{ empty: false }` is "kept". */
  restart(how: Memory | { empty: boolean }): Promise<void>;
  /** Resolves when the server answers and has loaded its data; rejects after a while or when it has ended. */
  ready(): Promise<void>;
  /** One command over a fresh connection without any client library; rejects with `ReplyError` and after 5 s. */
  cli(...args: (string | number)[]): Promise<Reply>;
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
  /** Whether the configuration makes it keep what it has confirmed. */
  keepsData: boolean;
}

const cliTimeoutMs = 5000;
const probeTimeoutMs = 1000;

/** The general form; sentinels go through it too. */
export async function startConfigured(what: Configured): Promise<RunningRedis> {
  const { running, ready } = await startKind({
    server: what.server,
    port: what.port,
    keepsData: what.keepsData,
    portTaken: /Address already in use/,
    url: ({ port }) => `redis://${what.credentials}127.0.0.1:${port}`,
    args: (seat) => [confOf(seat), ...what.args],
    env: () => what.env,
    wipe: (seat) => wipe(seat, what.confLines),
    answers: (seat) => answers(seat, what.auth),
  });
  return {
    ...running,
    get pid() {
      return running.pid;
    },
    auth: what.auth,
    restart: (how) => running.restart(typeof how === "string" ? how : how.empty ? "lost" : "kept"),
    ready,
    cli: (...args) => respCall({ port: running.port, timeoutMs: cliTimeoutMs, auth: what.auth }, args),
  };
}

async function answers(seat: Seat, auth: readonly string[] | undefined): Promise<boolean> {
  const ask = (...args: string[]): Promise<Reply> =>
    respCall({ port: seat.port, timeoutMs: probeTimeoutMs, auth }, args);
  if (!String(await ask("INFO", "server")).includes(`config_file:${confOf(seat)}`)) return false;
  // INFO is answered while data is still being loaded; PING is not. A sentinel answers both at once.
  return (await ask("PING")) === "PONG";
}

function confOf(seat: Pick<Seat, "dir">): string {
  return join(seat.dir, "server.conf");
}

/** The configuration counts as data: sentinels write what they learn into it. */
async function wipe(seat: Seat, confLines: readonly string[]): Promise<void> {
  const data = join(seat.dir, "data");
  await rm(data, { recursive: true, force: true });
  await mkdir(data);
  const lines = [`port ${seat.port}`, "bind 127.0.0.1", `dir ${quoted(data)}`, ...confLines];
  await writeFile(confOf(seat), `${lines.join("\n")}\n`);
}

/** A string as the server's configuration file wants it. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}
