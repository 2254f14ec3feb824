/** The conformance list over real etcd servers, in real time: with their data kept, and with their data wiped. */
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll, expect, it } from "vitest";
import { etcd, recommendedEtcdOptions } from "../../src/adapters/etcd.js";
import type { BackendSession } from "../../src/backend.js";
import {
  conformanceCases,
  missingNeeds,
  type ConformanceCase,
  type ConformanceContext,
  type Need,
} from "../../src/testing/conformance.js";
import { crowd } from "../conformance/crowd.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startEtcd } from "../servers/start-etcd.ts";
import { ETCDS } from "./kit.ts";

const DEPLOYMENT = {
  backends: 3,
  quorum: 2,
  maxTtlMs: 60_000,
  // More than any case takes, so that proposals made at its start are never moved.
  clockSkewMs: 50_000,
  quarantineMs: 6_000,
  tokenRetentionMs: 3_600_000,
  restartGuard: "auto",
} as const;
const TOLERANCE_MS = 500;
/** So many cases run at once; a case that starts a server of its own is one of them. */
const AT_ONCE = 24;
const CASE_TIMEOUT_MS = 90_000;

/** It keeps its data, and has no clock to move proposals by. */
const NEVER: readonly Need[] = ["volatile", "clamps"];

let made = 0;

/** A prefix of its own for each case, so that no case sees the mark of another one. */
async function run(each: ConformanceCase, server: RunningServer): Promise<void> {
  const client = new Etcd3({ hosts: `http://127.0.0.1:${server.port}`, ...recommendedEtcdOptions() });
  const backend = etcd(client, { prefix: `case${++made}`, callTimeoutMs: 10_000 });
  const sessions: BackendSession[] = [];
  let lastProposal = BigInt(Date.now()) * 1000n;
  const context: ConformanceContext = {
    capabilities: backend.capabilities,
    deployment: DEPLOYMENT,
    toleranceMs: TOLERANCE_MS,
    // It has no clock to move them by.
    clampsProposals: false,
    restart: { lost: () => server.restart("lost"), kept: () => server.restart("kept") },
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
    client.close();
  }
}

/** A case that restarts its server or wipes it wants it for itself. */
function disturbs({ needs = [] }: ConformanceCase): boolean {
  return needs.includes("restart-lost") || needs.includes("restart-kept");
}

const enter = crowd(AT_ONCE);
const starts: (() => void)[] = [];
// Both versions at once.
beforeAll(() => {
  for (const start of starts) start();
});

for (const name of ETCDS) {
  await describeWithServer(name, "the conformance list", () => {
    const cases = conformanceCases.filter(({ needs = [] }) => !needs.some((need) => NEVER.includes(need)));
    let shared: Promise<RunningServer>;
    let runs: ReadonlyMap<ConformanceCase, Promise<void>>;
    starts.push(() => {
      shared = startEtcd(name);
      runs = new Map(cases.map((each) => [each, enter(() => runSomewhere(each))]));
    });
    afterAll(async () => {
      await Promise.allSettled(runs.values());
      await (await shared).stop();
    });

    async function runSomewhere(each: ConformanceCase): Promise<void> {
      if (!disturbs(each)) {
        await run(each, await shared);
        return;
      }
      const server = await startEtcd(name);
      try {
        await run(each, server);
      } finally {
        await server.stop();
      }
    }

    for (const each of cases) it(each.name, () => runs.get(each), CASE_TIMEOUT_MS);
  });
}
