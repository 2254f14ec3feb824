/** `quorum-lock run`: runs a command while holding a lock. */
import { validityMs } from "../../engine/validity.js";
import { AbortedError, NoQuorumError, show } from "../../errors.js";
import type { Lease } from "../../lock/lease.js";
import { createLocker, type Locker } from "../../lock/locker.js";
import { DEFAULTS, type LockerOptions } from "../../options.js";
import { formatMs } from "../duration.js";
import { endingTimes } from "../ending-times.js";
import { EXIT, listCodes, signalExitCode } from "../exit-codes.js";
import { withKnownFaults } from "../explain.js";
import { checkCommand } from "../find-command.js";
import { startGated, type Command } from "../gate.js";
import { withBackends } from "../open-locker.js";
import type { EndingTimes } from "../orders.js";
import { watchRedundancy } from "../redundancy.js";
import { readRunSettings, type RunSettings } from "../run-settings.js";
import { catchSignals, ENDING_SIGNALS, PAUSE_REFUSED, PAUSE_SIGNAL } from "../signals.js";
import { supervise, type Outcome, type Supervisor } from "../supervise.js";
import { print, tell, wrapped } from "../terminal.js";
import { startWatcher } from "../watcher-link.js";

const OWN_CODES = [
  EXIT.usage,
  EXIT.unavailable,
  EXIT.internal,
  EXIT.held,
  EXIT.lost,
  EXIT.cannotExecute,
  EXIT.notFound,
];

/** One screen of 80 x 24. */
const RUN_HELP = `quorum-lock run - run a command while holding a lock

  quorum-lock run --key KEY [options] -- COMMAND [ARG...]

  --backend URL      a server that votes, once for each, best 3 or 5: redis://A,
                     postgres://A/DB etcd:// ... (docs/configuration.md); with
                     none: QUORUM_LOCK_BACKENDS, --config quorum-lock.yaml, or
                     locks of this host only, which --require-quorum refuses
  --key KEY          what is locked
  --ttl 30s          how long the lock outlives a crash; extended meanwhile
  --wait 10s         how long to wait for the lock; 0 tries once
  --kill-grace 5s    from SIGTERM to SIGKILL (default: a fifth of --ttl)
  --quorum N  --max-ttl 60s  --clock-skew 1s   one figure for all users
  --restart-guard auto|strict|off   when servers restart and forget their locks
  --log-level debug|info|warn|error   JSON on stderr, needs pino

COMMAND finds QUORUM_LOCK_TOKEN and QUORUM_LOCK_KEY in its environment. It is
ended before the lock can be lost, even if quorum-lock is killed with -9; then
the key stays locked until --ttl has passed. What it leaves running is ended.
${wrapped(`Exit codes: COMMAND's own, 128+n after signal n; ${listCodes(OWN_CODES)}.`)}
Example: quorum-lock run --backend redis://a --backend redis://b \\
           --backend redis://c --key backup --wait 5m -- ./backup.sh --full`;

/** Runs it; resolves to the exit code. Throws a `CommandLineError` or an error of the locker. */
export async function run(args: readonly string[]): Promise<number> {
  const settings = readRunSettings(args);
  if (settings === "help") {
    print(RUN_HELP);
    return EXIT.ok.code;
  }
  checkCommand(settings.command[0]);
  return withBackends(settings, async ({ options }) => {
    const { ttlMs } = settings;
    const times = endingTimes({ ttlMs, validityMs: validityOf(ttlMs, options) }, settings.killGraceMs);
    const locker = createLocker({ ...options, ttlMs });
    try {
      return await runLocked(locker, { settings, options, times });
    } finally {
      await locker.close();
    }
  });
}

interface Plan {
  readonly settings: RunSettings;
  readonly options: LockerOptions;
  readonly times: EndingTimes;
}

async function runLocked(locker: Locker, { settings, options, times }: Plan): Promise<number> {
  let supervisor: Supervisor | undefined;
  const abort = new AbortController();
  let interruptedBy: NodeJS.Signals | undefined;
  const signals = catchSignals((signal) => {
    if (signal === PAUSE_SIGNAL) tell(PAUSE_REFUSED);
    if (!ENDING_SIGNALS.includes(signal)) return;
    interruptedBy ??= signal;
    abort.abort();
  });
  const watcher = startWatcher({
    onEnding: () => supervisor?.watcherIsEnding(),
    onLost: () => supervisor?.watcherIsLost(),
  });
  const redundancy = watchRedundancy(locker, options, settings.key);
  let lease: Lease | undefined;
  let outcome: Outcome | undefined;
  try {
    const { key, waitMs } = settings;
    const signal = AbortSignal.any([abort.signal, redundancy.hopeless]);
    lease = await locker.acquire(key, { waitMs, keepAlive: true, signal });
    redundancy.start();
    const command = await startGated(commandOf(settings, lease));
    supervisor = supervise({ locker, lease, command, watcher, times, ttlMs: settings.ttlMs });
    if (interruptedBy !== undefined) supervisor.signal(interruptedBy);
    signals.passTo(supervisor.signal);
    outcome = await supervisor.outcome;
    return exitCodeOf(outcome);
  } catch (error) {
    if (error instanceof AbortedError && interruptedBy !== undefined) return signalExitCode(interruptedBy);
    if (error instanceof AbortedError && error.cause instanceof NoQuorumError) throw error.cause;
    throw withKnownFaults(error, redundancy.faults);
  } finally {
    redundancy.stop();
    await watcher.dismiss();
    if (lease !== undefined) await release(lease, outcome, settings);
  }
}

function commandOf({ key, command: [name, ...args] }: RunSettings, lease: Lease): Command {
  return { name, args, env: { QUORUM_LOCK_TOKEN: lease.token.toString(), QUORUM_LOCK_KEY: key } };
}

function exitCodeOf({ cause, end }: Outcome): number {
  if (cause === "lock") return EXIT.lost.code;
  if (cause === "watcher" || end === undefined) return EXIT.internal.code;
  return end.kind === "exited" ? end.code : signalExitCode(end.signal);
}

/** Gives the lock back, unless processes of the command could not be ended: then nobody else may have it yet. */
async function release(
  lease: Lease,
  outcome: Outcome | undefined,
  { key, ttlMs }: RunSettings,
): Promise<void> {
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

/** As the locker computes it for these backends. */
function validityOf(
  ttlMs: number,
  { backends, driftPpm = DEFAULTS.driftPpm }: Pick<LockerOptions, "backends" | "driftPpm">,
): number {
  const earlyByMs = Math.max(...backends.map(({ capabilities }) => capabilities.earlyByMs));
  return validityMs(ttlMs, { driftPpm, earlyByMs, grainMs: 1 });
}
