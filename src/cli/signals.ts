/** Signals that quorum-lock gets, and who gets them from it. */

/** Signals that end a wait; a command gets them as well. */
export const ENDING_SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];
/** For the whole group of the command, as a terminal sends them. */
export const GROUP_SIGNALS: readonly NodeJS.Signals[] = [...ENDING_SIGNALS, "SIGCONT", "SIGWINCH"];
/** For the command alone: to its children they would mean the end unless they expect them. */
export const LEADER_SIGNALS: readonly NodeJS.Signals[] = ["SIGUSR1", "SIGUSR2"];
/** Ctrl-Z. Not passed on: a stopped holder cannot keep its lock. */
export const PAUSE_SIGNAL: NodeJS.Signals = "SIGTSTP";
/** What to say to it. */
export const PAUSE_REFUSED =
  "cannot be paused, since the lock would be lost meanwhile; press Ctrl-C to end it";

/** Takes over all of these signals for the rest of the process; each goes to whoever is set last. */
export function catchSignals(first: (signal: NodeJS.Signals) => void): {
  passTo(next: (signal: NodeJS.Signals) => void): void;
} {
  let taker = first;
  for (const signal of [...GROUP_SIGNALS, ...LEADER_SIGNALS, PAUSE_SIGNAL])
    process.on(signal, () => taker(signal));
  return {
    passTo(next): void {
      taker = next;
    },
  };
}
