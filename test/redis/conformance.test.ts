/** The conformance list over real servers, in real time: volatile with a lost memory, and durable over real restarts. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe } from "vitest";
import { redis, recommendedRedisOptions } from "../../src/adapters/redis.js";
import type { BackendSession } from "../../src/backend.js";
import type { ConformanceContext } from "../../src/testing/conformance.js";
import { describeConformance, type ConformanceSetup } from "../conformance/run-conformance.js";
import { describeWithServer } from "../servers/needs.ts";
import { startRedis, type RunningRedis } from "../servers/redis-server.ts";
import { deploymentOf, proposal, SERVERS } from "./kit.ts";

/** Long enough that no case ends by accident on a busy machine; quarantines are waited for by few cases. */
const DEPLOYMENT = deploymentOf({ maxTtlMs: 3_000, clockSkewMs: 500 });
const TOLERANCE_MS = 250;

let made = 0;

interface Where {
  readonly server: RunningRedis;
  readonly durable: boolean;
}

/** A prefix of its own for each case, so that no case sees the mark of another one. */
function setUp({ server, durable }: Where): ConformanceSetup {
  const prefix = `case${++made}`;
  const client = new Redis({ host: "127.0.0.1", port: server.port, ...recommendedRedisOptions() });
  client.on("error", () => undefined);
  const backend = redis(client, { prefix, durable });
  const sessions: BackendSession[] = [];
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
    proposal,
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

for (const name of SERVERS) {
  await describeWithServer(name, "the conformance list", (serverName) => {
    for (const durable of [false, true]) {
      describe(durable ? "durable" : "volatile", () => {
        let server: RunningRedis;
        beforeAll(async () => {
          server = await startRedis({ server: serverName, appendOnly: "always" });
        });
        afterAll(() => server.stop());
        describeConformance(`${serverName}${durable ? ", durable" : ""}`, () => setUp({ server, durable }));
      });
    }
  });
}
