/** The example of docs/adapters/writing-your-own.md: the conformance list, and a quorum of it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BackendSession } from "../../src/backend.js";
import { createLocker } from "../../src/lock/locker.js";
import {
  conformanceCases,
  missingNeeds,
  type ConformanceCase,
  type ConformanceContext,
} from "../../src/testing/conformance.js";
import { objectStore } from "./object-store.ts";
import { startTinyObjectStore } from "./tiny-object-store.ts";

const DEPLOYMENT = {
  backends: 3,
  quorum: 2,
  maxTtlMs: 60_000,
  // More than any case takes, so that proposals made at its start are not moved.
  clockSkewMs: 60_000,
  quarantineMs: 3_000,
  tokenRetentionMs: 3_600_000,
  restartGuard: "auto",
} as const;

const AT_ONCE = 12;

/** What the list needs to know before there is a store. */
const RESTARTS = { lost: async () => undefined, kept: async () => undefined };

async function run(each: ConformanceCase): Promise<void> {
  const server = await startTinyObjectStore();
  const backend = objectStore(server.url);
  const sessions: BackendSession[] = [];
  let made = 0;
  let proposal = BigInt(Date.now()) * 1000n;
  const context: ConformanceContext = {
    capabilities: backend.capabilities,
    deployment: DEPLOYMENT,
    toleranceMs: 400,
    restart: { ...RESTARTS, lost: async () => server.wipe() },
    open(overrides = {}) {
      const session = backend.open({ ...DEPLOYMENT, ...overrides });
      sessions.push(session);
      return session;
    },
    freshKey: () => `key-${++made}`,
    proposal: () => ++proposal,
    nowMs: () => performance.now(),
    waitMs: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  };
  try {
    expect(missingNeeds(each, context)).toEqual([]);
    await each.run(context);
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
    await server.close();
  }
}

describe("conformance: the example adapter over an object store", () => {
  const { capabilities } = objectStore("http://localhost");
  const cases = conformanceCases.filter(
    (each) => missingNeeds(each, { capabilities, restart: RESTARTS } as ConformanceContext).length === 0,
  );
  // Many at once: most of their time is waiting for whole seconds.
  const results = new Map<ConformanceCase, Promise<unknown>>();
  beforeAll(() => {
    const lines = Array.from({ length: AT_ONCE }, () => Promise.resolve());
    for (const [i, each] of cases.entries()) {
      const result = (lines[i % AT_ONCE] ?? Promise.resolve()).then(() => run(each));
      results.set(
        each,
        result.then(
          () => "passed",
          (error: unknown) => error,
        ),
      );
      lines[i % AT_ONCE] = result.catch(() => undefined);
    }
  });
  afterAll(() => Promise.all(results.values()));
  for (const each of cases) {
    it(each.name, { timeout: 60_000 }, async () => {
      expect(await results.get(each)).toBe("passed");
    });
  }
});

describe("the example adapter over object stores", () => {
  it("makes a quorum of three, of which one is gone", async () => {
    const servers = await Promise.all([1, 2, 3].map(() => startTinyObjectStore()));
    const locker = createLocker({
      backends: servers.map(({ url }, i) => objectStore(url, { name: `s${i}` })),
    });
    try {
      const first = await locker.withLock("k", async ({ token }) => token);
      await servers[0]?.close();
      const second = await locker.withLock("k", async ({ token }) => token);
      expect(second).toBeGreaterThan(first);
    } finally {
      await locker.close();
      await Promise.all(servers.slice(1).map((server) => server.close()));
    }
  });

  it("says what is wrong with a store that is none", async () => {
    const server = await startTinyObjectStore();
    await server.close();
    const session = objectStore(server.url).open(DEPLOYMENT);
    await expect(session.status()).rejects.toMatchObject({ code: "BACKEND_TIMEOUT", effect: "unknown" });
  });
});
