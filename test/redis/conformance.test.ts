/** The conformance list over real servers, in real time: volatile with a lost memory, and durable over real restarts. */
import { Redis } from "ioredis";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis-5";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ServerName } from "../../scripts/servers.mjs";
import {
  redis,
  recommendedRedisOptions,
  type NodeRedisLike,
  type RedisLike,
} from "../../src/adapters/redis.js";
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

/** Clients of users. Those of node-redis are not connected: the backend works on a duplicate. */
const CLIENTS = {
  ioredis: (port: number) => {
    const client = new Redis({ host: "127.0.0.1", port, ...recommendedRedisOptions() });
    client.on("error", () => undefined);
    return { client, close: () => client.disconnect() };
  },
  "node-redis 6": (port: number) => unconnected(createClient({ socket: { host: "127.0.0.1", port } })),
  "node-redis 5": (port: number) => unconnected(createClient5({ url: `redis://127.0.0.1:${port}` })),
} satisfies Record<string, (port: number) => { client: RedisLike | NodeRedisLike; close: () => void }>;
type ClientName = keyof typeof CLIENTS;

function unconnected(client: NodeRedisLike): { client: NodeRedisLike; close: () => void } {
  return { client, close: () => undefined };
}

interface Where {
  readonly server: RunningRedis;
  readonly by: ClientName;
  readonly durable: boolean;
}

/** A prefix of its own for each case, so that no case sees the mark of another one. */
function setUp({ server, by, durable }: Where): Setup {
  const prefix = `case${++made}`;
  const { client, close } = CLIENTS[by](server.port);
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
      close();
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

const WAYS: readonly (readonly [name: ServerName, by: ClientName])[] = [
  ...SERVERS.map((name) => [name, "ioredis"] as const),
  ["redis-7", "node-redis 6"],
  ["redis-7", "node-redis 5"],
];

for (const [name, by] of WAYS) {
  await describeWithServer(name, `the conformance list, through ${by}`, (serverName) => {
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
              await run(each, { server: shared, by, durable });
              return;
            }
            const server = await startRedis({ server: serverName, appendOnly: "always" });
            try {
              await run(each, { server, by, durable });
            } finally {
              await server.stop();
            }
          });
        }
      });
    }
  });
}
