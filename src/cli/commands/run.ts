/** `quorum-lock run`: runs a command while holding a lock. */
import { majority } from "../../engine/quorum.js";
import { validityMs } from "../../engine/validity.js";
import { AbortedError, show, type BackendError } from "../../errors.js";
import type { Lease } from "../../lock/lease.js";
import { createLocker, type Locker } from "../../lock/locker.js";
import { checkKey, DEFAULTS, LIMITS } from "../../options.js";
import type { Backend, RestartGuard } from "../../backend.js";
import { CommandLineError } from "../command-line-error.js";
import { formatMs, parseDurationMs } from "../duration.js";
import { endingTimes, RUN_TTL_MS_MIN } from "../ending-times.js";
import { EXIT, signalExitCode } from "../exit-codes.js";
import { withKnownFaults } from "../explain.js";
import { checkCommand } from "../find-command.js";
import { startGated, type Command } from "../gate.js";
import { createLogger } from "../logger.js";
import { openBackends } from "../open-backends.js";
import type { EndingTimes } from "../orders.js";
import { parseArguments, usage, type Arguments, type OptionSpec } from "../parse-arguments.js";
import { parseBackendUrl, type BackendAddress } from "../parse-url.js";
import { catchSignals, ENDING_SIGNALS } from "../signals.js";
import { supervise, type Outcome, type Supervisor } from "../supervise.js";
import { print, tell } from "../terminal.js";
import { startWatcher } from "../watcher-link.js";

/** One screen of 80 x 24. */
export const RUN_HELP = `quorum-lock run - run a command while holding a lock

  quorum-lock run --backend URL... --key KEY [options] -- COMMAND [ARG...]

  --backend URL      a server that votes, once for each, best 3 or 5:
                     redis://HOST:PORT/DB rediss:// redis+unix:///PATH
                     parameters: ?name=N&durable=true&prefix=P
  --key KEY          what is locked
  --ttl 30s          how long the lock outlives a crash; extended meanwhile
  --wait 10s         how long to wait for the lock; 0 tries once
  --kill-grace 5s    from SIGTERM to SIGKILL (default: a fifth of --ttl)
  --quorum N  --max-ttl 60s  --clock-skew 1s   one figure for all users
  --restart-guard auto|strict|off   servers that restarted without memory;
                     strict also covers all of them restarting at once
  --log-level debug|info|warn|error   JSON on stderr, needs pino

COMMAND finds QUORUM_LOCK_TOKEN and QUORUM_LOCK_KEY in its environment. It is
ended before the lock can be lost, even if quorum-lock is killed with -9; then
the key stays locked until --ttl has passed. What it leaves running is ended.
Exit codes: COMMAND's own (128+n: signal n); 64 usage, 69 no quorum, 70 failure,
75 held by another, 76 being lost, 126 not executable, 127 not found.
Example: quorum-lock run --backend redis://a --backend redis://b \\
           --backend redis://c --key backup --wait 5m -- ./backup.sh --full`;

const OPTIONS: Readonly<Record<string, OptionSpec>> = {
  backend: { type: "string", repeatable: true },
  key: { type: "string" },
  ttl: { type: "string" },
  wait: { type: "string" },
  "kill-grace": { type: "string" },
  quorum: { type: "string" },
  "max-ttl": { type: "string" },
  "clock-skew": { type: "string" },
  "restart-guard": { type: "string" },
  "log-level": { type: "string" },
};

const RUN_TTL_MS_DEFAULT = 30_000;
const RESTART_GUARDS: readonly RestartGuard[] = ["auto", "strict", "off"];

interface Settings {
  readonly key: string;
  readonly command: readonly [name: string, ...args: string[]];
  readonly addresses: readonly BackendAddress[];
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly killGraceMs: number | undefined;
  readonly quorum: number | undefined;
  readonly maxTtlMs: number;
  readonly clockSkewMs: number;
  readonly restartGuard: RestartGuard;
  readonly logLevel: string | undefined;
}

/** Runs it; resolves to the exit code. Throws a `CommandLineError` or an error of the locker. */
export async function run(args: readonly string[]): Promise<number> {
  const [own, command] = splitAtDashes(args);
  const given = parseArguments("run", OPTIONS, own);
  if (given.has("help")) {
    print(RUN_HELP);
    return EXIT.ok.code;
  }
  const settings = readSettings(given, command);
  checkCommand(settings.command[0]);
  const logger = await createLogger(settings.logLevel);
  const { backends, close } = await openBackends(settings.addresses);
  const { ttlMs, quorum, maxTtlMs, clockSkewMs, restartGuard } = settings;
  const times = endingTimes({ ttlMs, validityMs: validityOf(ttlMs, backends) }, settings.killGraceMs);
  const locker = createLocker({
    backends,
    ttlMs,
    maxTtlMs,
    clockSkewMs,
    restartGuard,
    ...(quorum === undefined ? {} : { quorum }),
    ...(logger === undefined ? {} : { logger }),
  });
  try {
    return await runLocked(locker, settings, times);
  } finally {
    await locker.close();
    close();
  }
}

/** Everything after the first `--` is the command's, whatever it looks like. */
function splitAtDashes(args: readonly string[]): readonly [readonly string[], readonly string[]] {
  const at = args.indexOf("--");
  return at === -1 ? [args, []] : [args.slice(0, at), args.slice(at + 1)];
}

async function runLocked(locker: Locker, settings: Settings, times: EndingTimes): Promise<number> {
  let supervisor: Supervisor | undefined;
  const abort = new AbortController();
  let interruptedBy: NodeJS.Signals | undefined;
  const signals = catchSignals((signal) => {
    if (!ENDING_SIGNALS.includes(signal)) return;
    interruptedBy ??= signal;
    abort.abort();
  });
  const watcher = startWatcher({
    onEnding: () => supervisor?.watcherIsEnding(),
    onLost: () => supervisor?.watcherIsLost(),
  });
  const faults = new Map<string, BackendError>();
  locker.on("backendFault", ({ backend, error }) => faults.set(backend, error));
  locker.on("backendRecovered", ({ backend }) => faults.delete(backend));
  let lease: Lease | undefined;
  let outcome: Outcome | undefined;
  try {
    const { key, waitMs } = settings;
    lease = await locker.acquire(key, { waitMs, keepAlive: true, signal: abort.signal });
    const command = await startGated(commandOf(settings, lease));
    supervisor = supervise({ locker, lease, command, watcher, times, ttlMs: settings.ttlMs });
    if (interruptedBy !== undefined) supervisor.signal(interruptedBy);
    signals.passTo(supervisor.signal);
    outcome = await supervisor.outcome;
    return exitCodeOf(outcome);
  } catch (error) {
    if (error instanceof AbortedError && interruptedBy !== undefined) return signalExitCode(interruptedBy);
    throw withKnownFaults(error, faults);
  } finally {
    await watcher.dismiss();
    if (lease !== undefined) await release(lease, outcome, settings);
  }
}

function commandOf({ key, command: [name, ...args] }: Settings, lease: Lease): Command {
  return { name, args, env: { QUORUM_LOCK_TOKEN: lease.token.toString(), QUORUM_LOCK_KEY: key } };
}

function exitCodeOf({ cause, end }: Outcome): number {
  if (cause === "lock") return EXIT.lost.code;
  if (cause === "watcher" || end === undefined) return EXIT.internal.code;
  return end.kind === "exited" ? end.code : signalExitCode(end.signal);
}

/** Gives the lock back, unless processes of the command could not be ended: then nobody else may have it yet. */
async function release(lease: Lease, outcome: Outcome | undefined, { key, ttlMs }: Settings): Promise<void> {
  const untilTtl = `stays locked until its TTL of ${formatMs(ttlMs)} has passed`;
  if (outcome?.allGone === false) {
    tell(
      `processes of the command could not be ended, not even with SIGKILL (another user's, or waiting for a dead ` +
        `disk); key ${show(key)} is not released and ${untilTtl}`,
    );
    return;
  }
  const released = await lease.release();
  // Where the lock was being lost, that was said.
  if (released !== "unknown" || outcome?.cause === "lock") return;
  tell(`too few backends answered when lock ${show(key)} was released; it ${untilTtl}`);
}

function readSettings(given: Arguments, command: readonly string[]): Settings {
  const key = given.one("key");
  const addresses = given.all("backend").map(parseBackendUrl);
  if (addresses.length === 0)
    throw usage("run", "option --backend is missing: the URL of each server that votes");
  if (key === undefined) throw usage("run", "option --key is missing: what is to be locked");
  checkKey(key);
  const maxTtlMs =
    duration(given, "max-ttl", { minMs: RUN_TTL_MS_MIN, maxMs: LIMITS.maxTtlMsMax }) ?? DEFAULTS.maxTtlMs;
  const ttlRange = { minMs: RUN_TTL_MS_MIN, maxMs: maxTtlMs, why: " (--max-ttl)" };
  const skewRange = {
    minMs: 0,
    maxMs: Math.min(LIMITS.clockSkewMsMax, maxTtlMs - 1),
    why: " (below --max-ttl)",
  };
  return {
    key,
    command: checkedCommand(command),
    addresses,
    maxTtlMs,
    ttlMs: duration(given, "ttl", ttlRange) ?? Math.min(RUN_TTL_MS_DEFAULT, maxTtlMs),
    waitMs: duration(given, "wait", { minMs: 0, maxMs: LIMITS.waitMsMax }) ?? DEFAULTS.waitMs,
    killGraceMs: duration(given, "kill-grace", { minMs: 0, maxMs: LIMITS.maxTtlMsMax }),
    clockSkewMs: duration(given, "clock-skew", skewRange) ?? Math.min(DEFAULTS.clockSkewMs, maxTtlMs - 1),
    quorum: quorumOf(given, addresses.length),
    restartGuard: restartGuardOf(given),
    logLevel: given.one("log-level"),
  };
}

function checkedCommand(command: readonly string[]): Settings["command"] {
  const [name, ...args] = command;
  if (name === undefined || name === "") {
    throw usage("run", "the command is missing: write -- and then the command with its arguments");
  }
  // Shells differ in what they make of such a name.
  if (name.startsWith("-")) throw usage("run", `the command must not begin with a dash; got ${show(name)}`);
  return [name, ...args];
}

function duration(
  given: Arguments,
  option: string,
  range: { readonly minMs: number; readonly maxMs: number; readonly why?: string },
): number | undefined {
  const text = given.one(option);
  return text === undefined ? undefined : parseDurationMs(`--${option}`, text, range);
}

function quorumOf(given: Arguments, n: number): number | undefined {
  const text = given.one("quorum");
  if (text === undefined) return undefined;
  const quorum = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (quorum >= majority(n) && quorum <= n) return quorum;
  const rule = `a majority of the ${n} backends: a whole number from ${majority(n)} to ${n}`;
  throw new CommandLineError(EXIT.usage, `option --quorum must be ${rule}; got ${show(text)}`);
}

function restartGuardOf(given: Arguments): RestartGuard {
  const text = given.one("restart-guard") ?? DEFAULTS.restartGuard;
  const guard = RESTART_GUARDS.find((each) => each === text);
  if (guard !== undefined) return guard;
  throw new CommandLineError(
    EXIT.usage,
    `option --restart-guard must be one of ${RESTART_GUARDS.join(", ")}; got ${show(text)}`,
  );
}

/** As the locker computes it for these backends. */
function validityOf(ttlMs: number, backends: readonly Backend[]): number {
  const earlyByMs = Math.max(...backends.map(({ capabilities }) => capabilities.earlyByMs));
  return validityMs(ttlMs, { driftPpm: DEFAULTS.driftPpm, earlyByMs, grainMs: 1 });
}
