/** Runs the conformance list against an adapter over a real server, in real time. */
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Backend, BackendSession, Deployment } from "../../src/backend.js";
import {
  conformanceCases,
  missingNeeds,
  type ConformanceCase,
  type ConformanceContext,
  type Restarts,
} from "../../src/testing/conformance.js";

/** A place in a store for one case, so that no case sees the mark of another one. */
export interface Place {
  readonly backend: Backend;
  readonly restart: Restarts;
  readonly close: () => Promise<void>;
}

/**
 * Locks long enough that none ends by accident on a busy machine, quarantines short enough to be waited for. The skew is
 * larger than any case takes, so that proposals made at its start are not moved by the server's clock.
 */
const DEPLOYMENT: Deployment = {
  backends: 3,
  quorum: 2,
  maxTtlMs: 20_000,
  clockSkewMs: 60_000,
  quarantineMs: 2_500,
  tokenRetentionMs: 3_600_000,
  restartGuard: "auto",
};
const TOLERANCE_MS = 400;

let made = 0;

/** A name that no other case used. */
export function freshName(): string {
  return `case_${process.pid}_${++made}`;
}

/** Whether the case restarts its server or empties it: it wants a server for itself. */
export function disturbs({ needs = [] }: ConformanceCase): boolean {
  return needs.includes("restart-kept");
}

/**
 * Every case that fits as a test. `place` is asked for each of them; `alone` when the case restarts the server. `wakes`:
 * the store calls those who wait.
 */
export function describeAdapter(
  title: string,
  place: (how: { readonly alone: boolean }) => Promise<Place>,
  { wakes = false }: { readonly wakes?: boolean } = {},
): void {
  describe.concurrent(title, () => {
    for (const each of conformanceCases) {
      // Stores that keep what they have; some of them call nobody.
      if (each.needs?.some((need) => need === "volatile" || (need === "wakes" && !wakes)) === true) continue;
      it(each.name, async () => {
        await runCase(each, await place({ alone: disturbs(each) }));
      });
    }
  });
}

async function runCase(each: ConformanceCase, where: Place): Promise<void> {
  const { context, close } = placeContext(where, TOLERANCE_MS);
  try {
    expect(missingNeeds(each, context)).toEqual([]);
    await each.run(context);
  } finally {
    await close();
  }
}

/** A context in a place; closing it closes the place, too. */
export function placeContext(
  { backend, restart, close }: Place,
  toleranceMs: number,
): { readonly context: ConformanceContext; readonly close: () => Promise<void> } {
  const sessions: BackendSession[] = [];
  let lastProposal = BigInt(Date.now()) * 1000n;
  const context: ConformanceContext = {
    capabilities: backend.capabilities,
    deployment: DEPLOYMENT,
    toleranceMs,
    restart,
    open(overrides = {}) {
      const session = backend.open({ ...DEPLOYMENT, ...overrides });
      sessions.push(session);
      return session;
    },
    freshKey: () => `key-${++made}`,
    proposal: () => ++lastProposal,
    nowMs: () => performance.now(),
    waitMs: (ms) => sleep(ms),
  };
  return {
    context,
    async close() {
      await Promise.all(sessions.map((session) => session.close()));
      await close();
    },
  };
}
