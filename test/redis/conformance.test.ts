/** The conformance list over real servers, in real time: volatile with a lost memory, and durable over real restarts. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ServerName } from "../../scripts/servers.mjs";
import { conformanceCases, missingNeeds, type ConformanceCase } from "../../src/testing/conformance.js";
import { describeWithServer } from "../servers/needs.ts";
import { startRedis, type RunningRedis } from "../servers/redis-server.ts";
import { redisContext, type ClientName, type Where } from "./context.ts";
import { SERVERS } from "./kit.ts";

const TOLERANCE_MS = 250;

async function run(each: ConformanceCase, where: Omit<Where, "toleranceMs">): Promise<void> {
  const { context, close } = redisContext({ ...where, toleranceMs: TOLERANCE_MS });
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
