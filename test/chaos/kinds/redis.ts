/** Redis 7 through ioredis. With appendfsync always, so that it can come back with its memory, declared or not. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { resolveServer } from "../../../scripts/servers.mjs";
import { faketimeEnv, setClock, sweepFaketime } from "../../../scripts/servers/faketime.mjs";
import type * as Adapter from "../../../src/adapters/redis.js";
import { startRedis } from "../../servers/redis-server.ts";
import type { ChaosServer, Kind } from "../kind.ts";
import { library } from "../library.ts";

function redisKind(name: string, durable: boolean): Kind {
  return {
    name,
    durable,
    setsClock: true,
    async start({ faketime }): Promise<ChaosServer> {
      if (faketime === undefined) return startRedis({ appendOnly: "always" });
      const found = await resolveServer("redis-7");
      if ("missing" in found) throw new Error(found.missing);
      const folder = await mkdtemp(join(tmpdir(), "quorum-lock-clock-"));
      const file = join(folder, "offset");
      await setClock(file, 0);
      const env = faketimeEnv(faketime, { command: found.command, file });
      const server = await startRedis({ appendOnly: "always", env });
      const pids = new Set([server.pid]);
      return {
        port: server.port,
        version: server.version,
        freeze: () => server.freeze(),
        thaw: () => server.thaw(),
        kill: () => server.kill(),
        async restart(how) {
          await server.restart(how);
          pids.add(server.pid);
        },
        async stop() {
          await server.stop();
          await rm(folder, { recursive: true, force: true });
          for (const pid of pids) await sweepFaketime(pid);
        },
        setClock: (offsetMs) => setClock(file, offsetMs),
      };
    },
    async connect({ port, name: backendName }) {
      const { redis, recommendedRedisOptions } = await library<typeof Adapter>("adapters/redis.js");
      const client = new Redis({ host: "127.0.0.1", port, ...recommendedRedisOptions() });
      client.on("error", () => undefined);
      return { backend: redis(client, { name: backendName, durable }), close: () => client.disconnect() };
    },
  };
}

/** Every restart is a new memory. */
export const volatileRedis: Kind = redisKind("redis", false);
/** What it acknowledged survives. */
export const durableRedis: Kind = redisKind("redis-durable", true);
