// The built command line as a child process, with what it prints, and nothing left of it when a test is over.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test as plainTest } from "vitest";
import { startRedises, type RedisOptions, type RunningRedis } from "../servers/redis-server.ts";
import { waitUntil } from "../servers/wait-until.ts";

/** `dist/cli/main.js`, or another build. */
export const MAIN =
  process.env["QUORUM_LOCK_MAIN"] ?? fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const JOB = fileURLToPath(new URL("./job.mjs", import.meta.url));

/** The command that runs `job.mjs`. */
export function jobArgv(beats: string, ...words: readonly string[]): string[] {
  return [process.execPath, JOB, beats, ...words];
}

export interface RunningCli {
  readonly pid: number;
  /** Its exit code; -1 when a signal ended it. Rejects when that takes longer than a minute. */
  readonly exited: Promise<number>;
  stdout(): string;
  stderr(): string;
  /** The lines of its log, from `--log-level`. */
  log(): LogLine[];
  /** What it said beside its log. */
  lines(): string[];
  signal(signal: NodeJS.Signals): void;
  /** The process that watches it. */
  watcherPid(): number;
}

export interface LogLine {
  readonly event: string;
  readonly time: number;
  readonly [field: string]: unknown;
}

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly main?: string;
  readonly cwd?: string;
}

interface Tools {
  /** A folder of this test. */
  folder: string;
  cli: (args: readonly string[], options?: CliOptions) => RunningCli;
  redises: (n: number, options?: Omit<RedisOptions, "port">) => Promise<RunningRedis[]>;
}

const EXIT_WITHIN_MS = 60_000;

// Fixtures and not afterEach, which could not tell concurrent tests apart.
export const test = plainTest.extend<Tools>({
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  folder: async ({}, use) => {
    const folder = mkdtempSync(join(tmpdir(), "quorum-lock-cli-"));
    await use(folder);
    rmSync(folder, { recursive: true, force: true });
  },
  // oxlint-disable-next-line no-empty-pattern
  cli: async ({}, use) => {
    const children: ChildProcess[] = [];
    const watchers = new Set<number>();
    await use((args, options = {}) => {
      const { child, cli } = start(args, options);
      children.push(child);
      const watcherPid = (): number => {
        const pid = cli.watcherPid();
        watchers.add(pid);
        return pid;
      };
      return { ...cli, watcherPid };
    });
    // One that a failed test has left stopped would stay for ever.
    for (const pid of watchers) if (isWatcher(pid)) process.kill(pid, "SIGCONT");
    for (const child of children) {
      if (child.exitCode === null && child.signalCode === null) {
        // Its watcher then ends the rest.
        child.kill("SIGCONT");
        child.kill("SIGKILL");
      }
    }
  },
  // oxlint-disable-next-line no-empty-pattern
  redises: async ({}, use) => {
    const started: RunningRedis[] = [];
    await use(async (n, options = {}) => {
      const servers = await startRedises(n, options);
      started.push(...servers);
      return servers;
    });
    await Promise.all(started.map((redis) => redis.stop()));
  },
});

function start(args: readonly string[], options: CliOptions): { child: ChildProcess; cli: RunningCli } {
  const child = spawn(process.execPath, [options.main ?? MAIN, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    cwd: options.cwd ?? process.cwd(),
    env: { ...process.env, NO_COLOR: "", ...options.env },
  });
  const printed = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (printed.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (printed.stderr += text));
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.stdin ?? "");
  const exited = new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(
        new Error(
          `quorum-lock ${args.join(" ")} had not ended after ${EXIT_WITHIN_MS} ms; it said:\n${printed.stderr}`,
        ),
      );
    }, EXIT_WITHIN_MS);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve(code ?? -1);
    });
  });
  exited.catch(() => undefined);
  const pid = child.pid ?? 0;
  const cli: RunningCli = {
    pid,
    exited,
    stdout: () => printed.stdout,
    stderr: () => printed.stderr,
    lines: () => printed.stderr.split("\n").filter((line) => line.startsWith("quorum-lock: ")),
    log: () =>
      printed.stderr
        .split("\n")
        .filter((line) => line.startsWith("{") && line.endsWith("}"))
        .map((line) => JSON.parse(line) as LogLine),
    signal: (signal) => void child.kill(signal),
    watcherPid: () => watcherOf(pid),
  };
  return { child, cli };
}

/** The arguments of a run over these servers; `options` are parted by spaces. */
export function runArgs(
  servers: readonly RunningRedis[],
  options: string,
  command: readonly string[],
): string[] {
  return ["run", ...backendsOf(servers), ...options.split(" "), "--", ...command];
}

/** `--backend` for each server. */
export function backendsOf(servers: readonly RunningRedis[], query = ""): string[] {
  return servers.flatMap(({ url }) => ["--backend", `${url}${query}`]);
}

export interface Beat {
  readonly pid: number;
  /** By the monotonic clock that all processes share. */
  readonly ms: number;
  readonly token: string;
}

/** The proofs of life in a file of `job.mjs`. */
export function beatsIn(file: string): Beat[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const [pid, ms, token = ""] = line.split(" ");
      return { pid: Number(pid), ms: Number(ms), token };
    });
}

export function lastBeatMs(file: string): number {
  return Math.max(...beatsIn(file).map(({ ms }) => ms));
}

/** Resolves when so many processes have given a sign of life. */
export function untilAlive(file: string, processes: number, detail: () => string): Promise<void> {
  return waitUntil(
    { what: `${processes} processes of the job alive`, timeoutMs: 15_000, detail },
    async () => {
      return new Set(beatsIn(file).map(({ pid }) => pid)).size >= processes;
    },
  );
}

/** Resolves when none of the processes that gave a sign of life is there any more. */
export function untilGone(file: string): Promise<void> {
  const pids = new Set(beatsIn(file).map(({ pid }) => pid));
  return waitUntil({ what: "all processes of the job gone", timeoutMs: 10_000 }, async () => {
    return [...pids].every((pid) => !isAlive(pid));
  });
}

export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return !stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z");
  } catch {
    return false;
  }
}

export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** When the last known validity of a run ends, by the monotonic clock, going by its log at level "debug". */
export function validityEndMs(cli: RunningCli): number {
  const wallAheadMs = Date.now() - monotonicMs();
  const ends = cli
    .log()
    .filter(({ event }) => event === "extended")
    .map(({ time, remainingMs }) => time + Number(remainingMs));
  if (ends.length === 0) throw new Error(`no extension yet:\n${cli.stderr()}`);
  return Math.max(...ends) - wallAheadMs;
}

/** Resolves when the lock was extended, so that {@link validityEndMs} can tell the end of its validity. */
export function untilExtended(cli: RunningCli): Promise<void> {
  return waitUntil({ what: "an extension", timeoutMs: 15_000, detail: cli.stderr }, async () =>
    cli.log().some(({ event }) => event === "extended"),
  );
}

/** The margin is printed: it is what the promise "before validity ends" had left. */
export function expectGoneInTime(what: string, run: RunningCli, beats: string): void {
  const marginMs = validityEndMs(run) - lastBeatMs(beats);
  console.log(`${what}: the last process was alive ${marginMs.toFixed(0)} ms before validity ended`);
  expect(marginMs).toBeGreaterThan(0);
  expect(beatsIn(beats).some(({ pid }) => isAlive(pid))).toBe(false);
}

function watcherOf(parent: number): number {
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
      const [state, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(ppid) !== parent || state === "Z") continue;
      if (isWatcher(Number(entry))) return Number(entry);
    } catch {
      // Gone meanwhile.
    }
  }
  throw new Error(`process ${parent} has no watcher`);
}

function isWatcher(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("watcher.js");
  } catch {
    return false;
  }
}
