/** The leases of one locker: made, watched, kept, and ended when it closes. */
import type { System } from "../engine/time.js";
import type { ResolvedAcquire, ResolvedOptions } from "../options.js";
import type { Reporter } from "./events.js";
import { handOverDeployment } from "./hand-over.js";
import { createKeeper } from "./keeper.js";
import { createLease, type HeldLease, type LeaseContext } from "./lease.js";
import type { Grant, Quorum } from "./poll.js";

/** What the leases need of their locker. */
export interface LeasesContext {
  readonly quorum: Quorum;
  readonly system: System;
  readonly reporter: Reporter;
  readonly resolved: ResolvedOptions;
}

/** The leases that a locker holds. */
export interface Leases {
  /** Makes the lease of a grant, and has it kept if that is wanted. */
  hold(grant: Grant, options: Pick<ResolvedAcquire, "ttlMs" | "keepAlive">): HeldLease;
  /** Ends all of them as lost, since the locker closes. */
  close(): void;
}

/** None yet. */
export function createLeases({ quorum, system, reporter, resolved }: LeasesContext): Leases {
  const keeper = createKeeper<HeldLease>({ system, clockBounds: resolved.clockBounds });
  const lone = loneBackendText(resolved);
  let warned = lone === undefined;

  const context: LeaseContext = {
    quorum,
    system,
    reporter,
    keeper,
    maxTtlMs: resolved.deployment.maxTtlMs,
    deployment: handOverDeployment(resolved),
  };

  return {
    hold(grant: Grant, options: Pick<ResolvedAcquire, "ttlMs" | "keepAlive">): HeldLease {
      const lease = createLease(grant, options, context);
      if (!warned && lone !== undefined) reporter.emit("warning", () => ({ text: lone }));
      warned = true;
      return lease;
    },
    close(): void {
      for (const lease of keeper.held()) lease.lose("closed");
      keeper.stop();
    },
  };
}

/** What is wrong with a single backend that forgets, or is no lock at all. */
function loneBackendText({ backends, deployment }: ResolvedOptions): string | undefined {
  const [only] = backends;
  if (backends.length > 1 || only === undefined) return undefined;
  if (only.capabilities.grantsEverything === true) {
    return `${only.name} grants everything and excludes nobody: nothing is locked. It is for tests and development only`;
  }
  if (only.capabilities.durable) return undefined;
  if (deployment.restartGuard !== "auto") return undefined;
  return (
    `${only.name} is the only backend and forgets its locks when it restarts: a restart under a held lock cannot be ` +
    `told from a first start. Make it durable, use three or more backends, or set restartGuard: "strict"`
  );
}
