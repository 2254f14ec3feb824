/** The loop that extends a lease until it is over (engine/renewal.ts says when). */
import { renewalDelayMs } from "../engine/renewal.js";
import { elapsedMs, type System, type Timer } from "../engine/time.js";
import { validityMs, type ClockBounds } from "../engine/validity.js";
import type { HeldLease } from "./lease.js";

/** A running keeper. */
export interface Keeper {
  /** Ends the loop; an extension in flight goes on. */
  stop(): void;
}

/** What a keeper needs of its locker. */
export interface KeeperContext {
  readonly system: System;
  readonly clockBounds: ClockBounds;
}

/** Extends `lease` to `ttlMs` again and again, until it is stopped or the lease is over. */
export function keep(lease: HeldLease, ttlMs: number, context: KeeperContext): Keeper {
  const { system } = context;
  const wholeMs = validityMs(ttlMs, context.clockBounds);
  let failures = 0;
  let timer: Timer | undefined;
  let stopped = false;

  function schedule(): void {
    const remainingMs = elapsedMs(system.now(), lease.validUntil);
    const delayMs = renewalDelayMs({ remainingMs, validityMs: wholeMs, failures }, system.random());
    timer = system.startTimer("watch", delayMs, renew);
  }

  function renew(): void {
    if (stopped || lease.isOver()) return;
    void lease.extendOnce(ttlMs).then((outcome) => {
      if (stopped || lease.isOver()) return;
      failures = outcome.kind === "extended" ? 0 : failures + 1;
      schedule();
    });
  }

  schedule();
  return {
    stop(): void {
      stopped = true;
      if (timer !== undefined) system.cancelTimer(timer);
    },
  };
}
