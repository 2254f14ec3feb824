/** The conformance list over real servers, in real time: volatile with a lost memory, and durable over real restarts. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { redis, recommendedRedisOptions } from "../../src/adapters/redis.js";
import type { BackendSession } from "../../src/backend.js";
import {
  conformanceCases,
  missingNeeds,
  type ConformanceCase,
  type ConformanceContext,
} from "../../src/testing/conformance.js";
import { describeWithServer } from "../servers/needs.ts";
import { startRedis, type RunningRedis } from "../servers/redis-server.ts";
import { deploymentOf, SERVERS } from "./kit.ts";

/**
 * Locks long enough that none ends by accident on a busy machine, quarantines short enough to be waited for. The skew is
 * larger than any case takes, so that proposals made at its start are not moved by the server's clock.
 */
const DEPLOYMENT = {
  ...deploymentOf({ maxTtlMs: 20_000, clockSkewMs: 200 }),
  clockSkewMs: 60_000,
  quarantineMs: 2_500,
};
const TOLERANCE_MS = 250;

let made = 0;

interface Setup {
  readonly context: ConformanceContext;
  readonly close: () => Promise<void>;
}

interface Where {
  readonly server: RunningRedis;
  readonly durable: boolean;
}

/** A prefix of its own for each case, so that no case sees the mark of another one. */
function setUp({ server, durable }: Where): Setup {
  const prefix = `case${++made}`;
  const client = new Redis({ host: "127.0.0.1", port: server.port, ...recommendedRedisOptions() });
  client.on("error", () => undefined);
  const backend = redis(client, { prefix, durable });
  const sessions: BackendSession[] = [];
  let lastProposal = BigInt(Date.now()) * 1000n;
  const context: ConformanceContext = {
    capabilities: backend.capabilities,
    deployment: DEPLOYMENT,
    toleranceMs: TOLERANCE_MS,
    restart: {
      lost: async () => void (await server.cli("FLUSHALL")),
      kept: () => server.restart({ empty: false }),
    },
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
  return {
    context,
    async close() {
      await Promise.all(sessions.map((session) => session.close()));
      client.disconnect();
    },
  };
}

async function run(each: ConformanceCase, where: Where): Promise<void> {
  const { context, close } = setUp(where);
  try {
    expect(missingNeeds(each, context)).toEqual([]);
    await each.run(context);
  } finally {
    await close();
  }
}

/** A case that restarts its server or empties it wants it for itself. */
function disturbs({ needs = [] }: ConformanceCase): boolean {
  return needs.includes("restart-lost") || needs.includes("restart-kept");
}

for (const name of SERVERS) {
  await describeWithServer(name, "the conformance list", (serverName) => {
    for (const durable of [false, true]) {
      describe.concurrent(durable ? "durable" : "volatile", () => {
        let shared: RunningRedis;
        beforeAll(async () => {
          shared = await startRedis({ server: serverName, appendOnly: "always" });
        });
        afterAll(() => shared.stop());
        for (const each of conformanceCases) {
          // What is durable differs in what a restart means, and in nothing else.
          if (durable && !disturbs(each)) continue;
          if (each.needs?.includes(durable ? "volatile" : "durable") === true) continue;
          it(each.name, async () => {
            if (!disturbs(each)) {
              await run(each, { server: shared, durable });
              return;
            }
            const server = await startRedis({ server: serverName, appendOnly: "always" });
            try {
              await run(each, { server, durable });
            } finally {
              await server.stop();
            }
          });
        }
      });
    }
  });
}
