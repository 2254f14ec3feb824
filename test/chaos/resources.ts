/** What the locks protect: a table of PostgreSQL and lists of a Redis, which say themselves what they took, in their order. */
import pg from "pg";
import type * as PostgresGuard from "../../src/guard/postgres.js";
import { startPostgres } from "../servers/sql-server.mjs";
import { respCall, startRedis } from "../servers/redis-server.ts";
import type { ResourceLog } from "./history.js";
import { library } from "./library.ts";

export interface Resources {
  readonly postgresUrl: string;
  readonly redisPort: number;
  readonly versions: { readonly postgres: string; readonly redis: string };
  /** What was taken for these keys. */
  logs(keys: readonly string[]): Promise<readonly ResourceLog[]>;
  stop(): Promise<void>;
}

export async function startResources(): Promise<Resources> {
  const { postgresMarksSchema } = await library<typeof PostgresGuard>("guard/postgres.js");
  // Nothing is killed here, and the disk is shared.
  const postgres = await startPostgres({ args: ["-c", "fsync=off", "-c", "max_connections=100"] });
  const redis = await startRedis().catch(async (error: unknown) => {
    await postgres.stop();
    throw error;
  });
  const stop = async (): Promise<void> => {
    await Promise.all([postgres.stop(), redis.stop()]);
  };
  try {
    await query(postgres.url, postgresMarksSchema());
    await query(
      postgres.url,
      "CREATE TABLE writes (id bigserial PRIMARY KEY, key text NOT NULL, token bigint NOT NULL)",
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    postgresUrl: postgres.url,
    redisPort: redis.port,
    versions: { postgres: postgres.version, redis: redis.version },
    async logs(keys) {
      const logs: ResourceLog[] = [];
      for (const key of keys) {
        // Numbers are drawn under the lock on the mark's row, which is held to the commit: their order is that of commits.
        const rows = await query(postgres.url, "SELECT token FROM writes WHERE key = $1 ORDER BY id", [key]);
        const tokens = rows.map(({ token }) => BigInt(String(token)));
        logs.push({ resource: "postgres", key, tokens });
        const list = await respCall({ port: redis.port, timeoutMs: 10_000 }, ["LRANGE", `${key}:log`, 0, -1]);
        const taken = Array.isArray(list) ? list.map((token) => BigInt(String(token))) : [];
        logs.push({ resource: "redis", key, tokens: taken });
      }
      return logs;
    },
    stop,
  };
}

async function query(
  url: string,
  text: string,
  values: readonly string[] = [],
): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text, [...values])).rows;
  } finally {
    await client.end();
  }
}
