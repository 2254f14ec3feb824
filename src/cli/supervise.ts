/**
 * Runs beside the command of `quorum-lock run`: passes signals on, and sees to it that all of the command is gone before
 * the validity of the lease ends and before the lock is released. The watcher (watcher.ts) does the same from outside.
 */
import { NoQuorumError, show, type LossReason, type VoteReport } from "../errors.js";
import type { Lease } from "../lock/lease.js";
import type { Locker } from "../lock/locker.js";
import { formatMs } from "./duration.js";
import type { CommandEnd, GatedCommand } from "./gate.js";
import { endingInstants, type EndingTimes, type Orders } from "./orders.js";
import { groupOf, livingGroups, send, signalAll, signalGroup, terminateAll } from "./process-group.js";
import { before, earlier, instantIn, msUntil, type SharedInstant } from "./shared-clock.js";
import { LEADER_SIGNALS, PAUSE_REFUSED, PAUSE_SIGNAL } from "./signals.js";
import { tell } from "./terminal.js";
import type { WatcherLink } from "./watcher-link.js";

/** What is supervised. */
export interface Supervised {
  readonly locker: Locker;
  readonly lease: Lease;
  readonly command: GatedCommand;
  readonly watcher: WatcherLink;
  readonly times: EndingTimes;
  readonly ttlMs: number;
}

/** Why a command is being ended by us. */
export type EndingCause =
  /** the lock is being lost */
  | "lock"
  /** the command itself has ended, processes that it started have not */
  | "leftovers"
  /** a second Ctrl-C */
  | "interrupted"
  /** no watcher can be had */
  | "watcher";

/** How it ended. */
export interface Outcome {
  /** Undefined when even SIGKILL did not end the command. */
  readonly end: CommandEnd | undefined;
  /** Undefined when it ended by itself. */
  readonly cause: EndingCause | undefined;
  /** Whether no process of it is left; if one is, the lock must not be released. */
  readonly allGone: boolean;
}

/** A supervised command. */
export interface Supervisor {
  readonly outcome: Promise<Outcome>;
  /** For signals that this process gets. */
  signal(signal: NodeJS.Signals): void;
  /** For {@link WatcherEvents}. */
  watcherIsEnding(): void;
  watcherIsLost(): void;
}

/** No timer notices a suspended machine, so the clocks are looked at this often at least. */
const SLICE_MS = 100;
const LOOK_AGAIN_MS = 20;
/** What a command has left behind may be about to end: a `tee` that writes the last lines of its log. */
const LINGER_MS = 250;
/** What SIGKILL does not end within this (another user's process, a dead disk) it never will. */
const GIVE_UP_AFTER_MS = 5_000;
/** Two Ctrl-C within this, or within the grace when that is longer, mean that it cannot wait. */
const IMPATIENCE_MS = 2_000;

interface Ending {
  readonly cause: EndingCause;
  readonly killAt: SharedInstant;
}

/** Opens the gate of a command once the watcher knows it, and supervises it until all of it is gone. */
export function supervise({ locker, lease, command, watcher, times, ttlMs }: Supervised): Supervisor {
  const group = groupOf(command.pid);
  const note =
    `quorum-lock itself was killed; its watcher has ended the command. Nobody has released the lock: key ` +
    `${show(lease.key)} stays locked until its TTL of ${formatMs(ttlMs)} has passed`;
  let deadline = endingInstants(validUntil(lease), times);
  let ending: Ending | undefined;
  let end: CommandEnd | undefined;
  let lingerUntil: SharedInstant | undefined;
  let interruptedAt: SharedInstant | undefined;
  let lost: LossReason | undefined;
  let votes: readonly VoteReport[] = [];
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  let finish: (outcome: Outcome) => void = () => undefined;

  const outcome = new Promise<Outcome>((resolve) => {
    finish = resolve;
  });
  const stopListening = [
    locker.on("extended", () => {
      votes = [];
      deadline = endingInstants(validUntil(lease), times);
      instruct();
    }),
    locker.on("atRisk", (event) => {
      votes = event.votes;
    }),
    locker.on("lost", (event) => {
      lost = event.reason;
      look();
    }),
  ];
  void command.ended.then((how) => {
    end = how;
    lingerUntil = instantIn(LINGER_MS);
    look();
  });

  function orders(): Orders {
    const killAt = ending?.killAt ?? deadline.killAt;
    const terminated = ending !== undefined;
    return { group, terminateAt: deadline.terminateAt, killAt, graceMs: times.graceMs, terminated, note };
  }

  function instruct(): void {
    watcher.order(orders()).catch(watcherIsLost);
  }

  /** Does what is due, and comes back in time for what is due next. */
  function look(): void {
    clearTimeout(timer);
    if (over) return;
    if (ending === undefined) {
      if (lost !== undefined || msUntil(deadline.terminateAt) <= 0) beginEnding("lock");
      else if (lingerUntil !== undefined && msUntil(lingerUntil) <= 0 && isLeft()) beginEnding("leftovers");
    }
    if (ending !== undefined && msUntil(ending.killAt) <= 0) signalAll(group, "SIGKILL");
    if (!isLeft()) return leave(true);
    if (ending !== undefined && msUntil(ending.killAt) < -GIVE_UP_AFTER_MS) return leave(false);
    timer = setTimeout(look, nextLookMs());
  }

  /** Whether any of it is alive. As long as the command itself is, nobody needs to search. */
  function isLeft(): boolean {
    return end === undefined || livingGroups(group).length > 0;
  }

  function nextLookMs(): number {
    const dueMs = msUntil(ending?.killAt ?? deadline.terminateAt);
    // Once it is killed, or has ended, whatever is left is looked for often.
    const sliceMs = end !== undefined || dueMs <= 0 ? LOOK_AGAIN_MS : SLICE_MS;
    return dueMs > 0 ? Math.min(sliceMs, dueMs) : sliceMs;
  }

  /** Asks the command to end, unless the watcher has done so; killing it is for `look`. */
  function beginEnding(cause: EndingCause, askedBy: "us" | "watcher" = "us"): void {
    ending = { cause, killAt: earlier(instantIn(times.graceMs), deadline.killAt) };
    if (askedBy === "us") terminateAll(group);
    instruct();
    // Last: it blocks when whoever reads stderr has stopped reading.
    tell(endingText(cause));
  }

  function endingText(cause: EndingCause): string {
    const how = `SIGTERM now, SIGKILL within ${formatMs(times.graceMs)}`;
    switch (cause) {
      case "lock":
        return `${lossText()}; ending the command before somebody else may get the lock: ${how}`;
      case "leftovers":
        return `the command has ended, but processes that it started have not; ending them before the lock is released: ${how}`;
      case "interrupted":
        return "interrupted again; killing the command";
      case "watcher":
        return `the watcher cannot be kept running, and the command does not run without it; ending the command: ${how}`;
    }
  }

  function lossText(): string {
    if (lost === "forced-out") {
      return `lock ${show(lease.key)} was taken away: most backends deny it (released by force, evicted or deleted)`;
    }
    if (votes.length > 0) {
      return new NoQuorumError({ key: lease.key, votes, attempts: 1, waitedMs: 0, retryAfterMs: undefined })
        .message;
    }
    return (
      `lock ${show(lease.key)} could not be extended in time: quorum-lock did not run (stopped, suspended, or a ` +
      `machine too busy)`
    );
  }

  function kill(): void {
    const first = ending === undefined;
    ending = { cause: ending?.cause ?? "interrupted", killAt: instantIn(0) };
    instruct();
    look();
    if (first) tell(endingText("interrupted"));
  }

  function watcherIsLost(): void {
    if (ending === undefined && !over) beginEnding("watcher");
    look();
  }

  function leave(allGone: boolean): void {
    over = true;
    for (const stop of stopListening) stop();
    finish({ end, cause: ending?.cause, allGone });
  }

  look();
  watcher.order(orders()).then(() => {
    if (ending === undefined && end === undefined) command.open();
  }, watcherIsLost);
  return {
    outcome,
    signal(signal): void {
      if (over) return;
      if (signal === PAUSE_SIGNAL) return tell(PAUSE_REFUSED);
      if (signal === "SIGINT") {
        const again =
          interruptedAt !== undefined && msUntil(interruptedAt) > -Math.max(IMPATIENCE_MS, times.graceMs);
        if (ending !== undefined || again) return kill();
        interruptedAt = instantIn(0);
      }
      if (!LEADER_SIGNALS.includes(signal)) signalGroup(group, signal);
      else if (end === undefined) send(group.id, signal);
    },
    watcherIsEnding(): void {
      if (ending === undefined && !over) beginEnding("lock", "watcher");
    },
    watcherIsLost,
  };
}

/** The end of validity. The clocks are read first, so that a stall in between makes it early and not late. */
function validUntil(lease: Lease): SharedInstant {
  const now = instantIn(0);
  return before(now, -lease.remainingMs);
}
