/**
 * The conformance list against a real server, in real time. All cases run at once, each under a prefix of its own, since
 * most of their time is waiting; a case that restarts the server has one for itself.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Backend, BackendSession, Deployment } from "../../src/backend.js";
import {
  conformanceCases,
  missingNeeds,
  type ConformanceCase,
  type ConformanceContext,
} from "../../src/testing/conformance.js";
import type { RunningServer } from "../servers/running-server.ts";

/** What is special about one kind of server. */
export interface OnServer {
  readonly start: () => Promise<RunningServer>;
  /** A backend of the case with that prefix. Called once for each case. */
  readonly backend: (server: RunningServer, prefix: string) => Backend | Promise<Backend>;
  /** Removes all that is stored under the prefix, the mark included. */
  readonly wipe: (server: RunningServer, prefix: string) => Promise<void>;
  /** What the backend of a case opened beside its sessions. */
  readonly close?: (backend: Backend) => Promise<void>;
  /** How much later than declared something may come on a busy machine. */
  readonly toleranceMs?: number;
  /** Whether the store calls those who wait. */
  readonly wakes?: boolean;
  /** How many cases run at once. Default 12; fewer for a server that is slow. */
  readonly atOnce?: number;
}

/**
 * Locks long enough that none ends by accident on a busy machine, quarantines short enough to be waited for. The skew is
 * larger than any case takes, so that proposals made at its start are not moved by the server's clock.
 */
const DEPLOYMENT: Deployment = {
  backends: 3,
  quorum: 2,
  maxTtlMs: 60_000,
  clockSkewMs: 120_000,
  quarantineMs: 2_500,
  tokenRetentionMs: 3_600_000,
  restartGuard: "auto",
};
const TOLERANCE_MS = 400;
const AT_ONCE = 12;
const CASE_TIMEOUT_MS = 90_000;

let made = 0;

/** Registers every case that the server can be asked for as a test. */
export function itConforms(on: OnServer): void {
  let shared: RunningServer;
  const results = new Map<ConformanceCase, Promise<unknown>>();
  // Each of these stores is durable.
  const cases = conformanceCases.filter(
    ({ needs = [] }) => !needs.includes("volatile") && (on.wakes === true || !needs.includes("wakes")),
  );

  beforeAll(async () => {
    shared = await on.start();
    // Two lines: what restarts a server stands aside, and must not wait behind all that wait.
    const lines = [cases.filter((each) => !restarts(each)), cases.filter(restarts)];
    for (const [line, width] of [
      [lines[0] ?? [], on.atOnce ?? AT_ONCE],
      [lines[1] ?? [], 2],
    ] as const) {
      const free = Array.from({ length: width }, () => Promise.resolve());
      for (const [i, each] of line.entries()) {
        const before = free[i % width] ?? Promise.resolve();
        const result = before.then(() => settled(runCase(each)));
        results.set(each, result);
        free[i % width] = result.then(() => undefined);
      }
    }
  });
  afterAll(async () => {
    await Promise.all(results.values());
    await shared?.stop();
  });

  for (const each of cases) {
    it(each.name, { timeout: CASE_TIMEOUT_MS }, async () => {
      expect(await results.get(each)).toBe("passed");
    });
  }

  async function runCase(each: ConformanceCase): Promise<void> {
    const server = restarts(each) ? await on.start() : shared;
    try {
      await runOn(server, each);
    } finally {
      if (server !== shared) await server.stop();
    }
  }

  async function runOn(server: RunningServer, each: ConformanceCase): Promise<void> {
    const prefix = `case${++made}`;
    const backend = await on.backend(server, prefix);
    const sessions: BackendSession[] = [];
    let lastProposal = BigInt(Date.now()) * 1000n;
    const context: ConformanceContext = {
      capabilities: backend.capabilities,
      deployment: DEPLOYMENT,
      toleranceMs: on.toleranceMs ?? TOLERANCE_MS,
      restart: { lost: () => on.wipe(server, prefix), kept: () => server.restart("kept") },
      open(overrides = {}) {
        const session = backend.open({ ...DEPLOYMENT, ...overrides });
        sessions.push(session);
        return session;
      },
      freshKey: () => `key-${++made}`,
      proposal: () => ++lastProposal,
      nowMs: () => performance.now(),
      waitMs: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    };
    try {
      expect(missingNeeds(each, context)).toEqual([]);
      await each.run(context);
    } finally {
      await Promise.all(sessions.map((session) => session.close()));
      await on.close?.(backend);
    }
  }
}

function restarts({ needs = [] }: ConformanceCase): boolean {
  return needs.includes("restart-kept");
}

/** The test that asks for it comes later, and a rejection that nobody handles meanwhile would end the run. */
async function settled(running: Promise<void>): Promise<unknown> {
  try {
    await running;
    return "passed";
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}
