/** A place for conformance cases and the fuzz on a real server. */
import { Redis } from "ioredis";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis-5";
import {
  redis,
  recommendedRedisOptions,
  type NodeRedisLike,
  type RedisLike,
} from "../../src/adapters/redis.js";
import type { BackendSession } from "../../src/backend.js";
import type { ConformanceContext } from "../../src/testing/conformance.js";
import type { RunningRedis } from "../servers/redis-server.ts";
import { deploymentOf } from "./kit.ts";

/**
 * Locks long enough that none ends by accident on a busy machine, quarantines short enough to be waited for. The skew is
 * larger than any case takes, so that proposals made at its start are not moved by the server's clock.
 */
const DEPLOYMENT = {
  ...deploymentOf({ maxTtlMs: 20_000, clockSkewMs: 200 }),
  clockSkewMs: 60_000,
  quarantineMs: 2_500,
};

let made = 0;

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
export type ClientName = keyof typeof CLIENTS;

function unconnected(client: NodeRedisLike): { client: NodeRedisLike; close: () => void } {
  return { client, close: () => undefined };
}

/** Which server, and how it is to be used. */
export interface Where {
  readonly server: RunningRedis;
  /** Default "ioredis". */
  readonly by?: ClientName;
  readonly durable: boolean;
  readonly toleranceMs: number;
}

/** A prefix of its own for each, so that no case sees the mark of another one. */
export function redisContext({ server, by = "ioredis", durable, toleranceMs }: Where): {
  readonly context: ConformanceContext;
  readonly close: () => Promise<void>;
} {
  const prefix = `case${++made}`;
  const { client, close } = CLIENTS[by](server.port);
  const backend = redis(client, { prefix, durable });
  const sessions: BackendSession[] = [];
  let lastProposal = BigInt(Date.now()) * 1000n;
  const context: ConformanceContext = {
    capabilities: backend.capabilities,
    deployment: DEPLOYMENT,
    toleranceMs,
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
