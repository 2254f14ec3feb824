/**
 * The watcher: a process of its own that ends the command of `quorum-lock run` when quorum-lock cannot, because it was
 * killed with -9 or does not run. It knows the command and the end of validity from the lines on its stdin. Started as
 * `node watcher.js` before the command; not for use by hand.
 */
import { writeSync } from "node:fs";
import { decode, type Orders } from "./orders.js";
import { livingGroups, signalAll, terminateAll } from "./process-group.js";
import { earlier, instantIn, msUntil, type SharedInstant } from "./shared-clock.js";

/** No timer notices a suspended machine, so the clocks are looked at this often at least. */
const SLICE_MS = 100;
/** How often to look whether all is gone, and to kill what was started meanwhile. */
const KILL_EVERY_MS = 10;
/** Quorum-lock itself asks first; so much later it is known not to run. */
const LAG_MS_MAX = 200;
/** What SIGKILL does not end within this (another user's process, a dead disk) it never will. */
const GIVE_UP_AFTER_MS = 60_000;

/** The stderr of quorum-lock; see watcher-link.ts. */
const STDERR = 3;

let orders: Orders | undefined;
/** Set from the moment that the command is being ended, by whomever. */
let killAt: SharedInstant | undefined;
let orphaned = false;
let timer: NodeJS.Timeout | undefined;

// What a terminal or a service manager sends to all processes at once must not take the watcher first.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const) {
  process.on(signal, () => undefined);
}
// Quorum-lock is gone: its end of stdin says so too, and that is what counts.
process.stdout.on("error", () => undefined);
process.stdin.on("error", orphan);
process.stdin.on("end", orphan);
process.stdin.setEncoding("utf8");

let unread = "";
process.stdin.on("data", (chunk: string) => {
  const lines = (unread + chunk).split("\n");
  unread = lines.pop() ?? "";
  for (const line of lines) obey(line);
});

function obey(line: string): void {
  const message = decode(line);
  if (message === "dismissed") process.exit(0);
  orders = message;
  if (orders.terminated) killAt = earlier(killAt ?? orders.killAt, orders.killAt);
  process.stdout.write("obeyed\n");
  look();
}

function orphan(): void {
  if (orphaned) return;
  orphaned = true;
  look();
}

/** Does what is due, and comes back in time for what is due next. */
function look(): void {
  clearTimeout(timer);
  if (orders === undefined) {
    // Nothing was started yet, and now nothing will be.
    if (orphaned) process.exit(0);
    return;
  }
  if (killAt === undefined && (orphaned || msUntil(orders.terminateAt) <= -lagMs(orders))) {
    killAt = earlier(orders.killAt, instantIn(orders.graceMs));
    process.stdout.write("ending\n");
    terminateAll(orders.group);
  }
  if (killAt !== undefined && msUntil(killAt) <= 0) signalAll(orders.group, "SIGKILL");
  if (killAt !== undefined) {
    const left = livingGroups(orders.group);
    if (left.length === 0) return leave(orders.note);
    if (msUntil(killAt) < -GIVE_UP_AFTER_MS)
      return leave(`process groups ${left.join(", ")} could not be ended`);
  }
  timer = setTimeout(look, nextLookMs(orders));
}

function nextLookMs(current: Orders): number {
  const dueMs = killAt === undefined ? msUntil(current.terminateAt) + lagMs(current) : msUntil(killAt);
  if (dueMs > 0) return Math.min(SLICE_MS, dueMs);
  // Overdue for long, and killing has not helped: no reason to use up a processor.
  return dueMs > -SLICE_MS ? KILL_EVERY_MS : SLICE_MS;
}

function lagMs({ graceMs }: Orders): number {
  return Math.min(LAG_MS_MAX, graceMs / 2);
}

/** From here on nothing may be signalled any more: the numbers may belong to strangers. */
function leave(note: string): void {
  orders = undefined;
  // Quorum-lock lives, and dismisses us when it has seen the same.
  if (!orphaned) return;
  try {
    // Last of all, since it blocks when whoever reads this has stopped reading.
    writeSync(STDERR, `quorum-lock: ${note}\n`);
  } catch {
    // Nobody is left to tell.
  }
  process.exit(0);
}
