/**
 * Waits that backends end: whoever waits for a key stands in line on them with a ticket, and is called when it is free.
 * Calls are advice and may be lost; a wait ends without them too, only later.
 */
import type { Ticket } from "../backend.js";
import { elapsedMs, after, type Instant, type System, type Timer } from "../engine/time.js";
import type { Link } from "./link.js";
import type { Interruption } from "./waiting.js";

/** What a locker hears from its backends. */
export interface Calls {
  /** Whether some wait stood in line before: somebody else uses the same keys. */
  readonly listening: () => boolean;
  /** A place in line for a wait that goes on now; undefined where no backend calls anybody. */
  stand(key: string): Standing | undefined;
  /** All who wait leave, now, ahead of the close of the backends. */
  stop(): void;
}

/** One waiter, as the backends know it. */
export interface Standing {
  /** What goes with an attempt; from here on, calls count for the pause after it. */
  ticket(waitsMs: number): Ticket;
  /**
   * Whether a call is to be expected: so many backends have it in line that one of them hears of every release, and
   * all of those have called this locker before, so that their calls are known to arrive.
   */
  isExpected(inLine: (link: Link) => boolean): boolean;
  /**
   * Resolves when enough backends called, or a little after one did that had not just been given back a vote by the attempt
   * before; after `delayMs`, which is a millisecond at least, or when it is interrupted.
   */
  pause(delayMs: number, interruption: Interruption, gaveBack: (link: Link) => boolean): Promise<void>;
  /** Waits no more; the backends `at` those places are told. May be repeated for others. */
  leave(at: (link: Link) => boolean): void;
}

/** When some backends have called and others not, for how long to wait for those, in milliseconds. */
const SETTLE_MS = 20;
/** The second in line comes so much later than it was told, as its clock may be faster: it is told once. */
const LATER = 1.1;
/**
 * A backend that is given back a vote may keep the key for that very waiter, and calls it at once, which alone says nothing new: others
 * may hold the lock for long. So it asks again less and less often; but it does, since only then a backend that has not known of a
 * smaller ticket before turns to that one.
 */
const AGAIN_MS_MAX = 1_000;
/** A pause takes time, however little is left of a wait. */
const PAUSE_MS_MIN = 1;
const NAME_DIGITS = 9;

interface Call {
  readonly at: Instant;
  readonly inMs: number;
}

interface Waiter {
  called(link: Link, inMs: number): void;
  leave(at: (link: Link) => boolean): void;
}

/** Listens to nobody before the first wait. */
export function createCalls(links: readonly Link[], quorum: number, system: System): Calls {
  const waiters = new Map<string, Waiter>();
  const heard = new Set<Link>();
  const calling = links.filter((link) => link.calls);
  let stops: readonly (() => void)[] = [];
  let listening = false;
  let stopped = false;
  let tickets = 0;
  let name: string | undefined;

  function listen(): void {
    if (listening) return;
    listening = true;
    stops = calling.map((link) =>
      link.watch((ticket, inMs) => {
        heard.add(link);
        waiters.get(ticket)?.called(link, inMs);
      }),
    );
  }

  return {
    listening: () => listening,
    stand(key: string): Standing | undefined {
      if (calling.length === 0) return undefined;
      listen();
      name ??= newName(system);
      const id = `${name}${++tickets}`;
      const since = system.propose();
      const enough = Math.min(quorum, calling.length);
      /** When each called, for when. */
      const calls = new Map<Link, Call>();
      /** How soon to ask again for what was given back. */
      let againMs = SETTLE_MS;
      let wake: (() => void) | undefined;

      waiters.set(id, {
        called(link, inMs) {
          const before = calls.get(link);
          if (before === undefined || inMs < before.inMs) calls.set(link, { at: system.now(), inMs });
          wake?.();
        },
        leave,
      });

      function leave(at: (link: Link) => boolean): void {
        waiters.delete(id);
        if (stopped) return;
        for (const link of calling) {
          if (!at(link)) continue;
          // Nothing hangs on it: a ticket that nobody answers to costs the next one a short reservation.
          link.send(
            async (session) => session.leave?.(key, id),
            () => undefined,
            () => undefined,
          );
        }
      }

      return {
        isExpected: (inLine) => calling.filter((link) => heard.has(link) && inLine(link)).length >= enough,
        ticket(waitsMs) {
          calls.clear();
          return { id, since, waitsMs };
        },
        pause(delayMs, interruption, gaveBack) {
          // What is left of a wait may be a rounding, behind which a clock shows the same as before.
          const until = after(system.now(), Math.max(delayMs, PAUSE_MS_MIN));
          return new Promise((resolve) => {
            let timer: Timer | undefined;
            const settle = (): void => {
              if (timer !== undefined) system.cancelTimer(timer);
              wake = undefined;
              stop();
              resolve();
            };
            // Where so many do not decide, votes that were given back say nothing of the backends that call nobody.
            const isEnough = (): boolean => {
              const callers = calling.filter((link) => calls.get(link)?.inMs === 0);
              return callers.length >= enough && (enough === quorum || !callers.every(gaveBack));
            };
            const look = (): void => {
              const now = system.now();
              let at = until;
              let isOwn = false;
              for (const [link, { at: calledAt, inMs }] of calls) {
                const own = gaveBack(link);
                const tryAt = after(calledAt, inMs > 0 ? LATER * inMs : own ? againMs : SETTLE_MS);
                if (tryAt < at) [at, isOwn] = [tryAt, own];
              }
              const called = isEnough();
              if (called || now >= at) {
                if (!called && isOwn) againMs = Math.min(2 * againMs, AGAIN_MS_MAX);
                settle();
                return;
              }
              if (timer !== undefined) system.cancelTimer(timer);
              timer = system.startTimer("work", elapsedMs(now, at), look);
            };
            const stop = interruption.listen(settle);
            wake = look;
            look();
          });
        },
        leave,
      };
    },
    stop(): void {
      for (const waiter of waiters.values()) waiter.leave(() => true);
      stopped = true;
      for (const stop of stops) stop();
    },
  };
}

/** Of a locker among all. It decides between waits that began at the same time, alike on all backends, lest they prefer different ones for ever. */
function newName(system: System): string {
  return String(Math.floor(system.random() * 10 ** NAME_DIGITS)).padStart(NAME_DIGITS, "0");
}
