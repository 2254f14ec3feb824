/** What the tests of this folder share: servers and clients that are closed after the test. */
import pg from "pg";
import { postgres, type PostgresBackendOptions } from "../../src/adapters/postgres.js";
import type { BackendSession, Deployment } from "../../src/backend.js";
import { putInService, test as redisTest } from "../redis/kit.ts";
import { startPostgres, type RunningSql } from "../servers/sql-server.mjs";

interface Kit {
  readonly postgresServer: (args?: readonly string[]) => Promise<RunningSql>;
  /** A pool as people make them. */
  readonly pool: (server: { readonly url: string }, config?: pg.PoolConfig) => pg.Pool;
  /** One client, connected. */
  readonly admin: (server: { readonly url: string }) => Promise<pg.Client>;
  /** A session in service. */
  readonly ready: (
    server: { readonly url: string },
    how?: PostgresBackendOptions & { readonly deployment?: Partial<Deployment> },
  ) => Promise<BackendSession>;
}

export const test = redisTest.extend<Kit>({
  postgresServer: async ({ after }, use) => {
    await use(async (args = []) => {
      const server = await startPostgres({ args });
      after(() => server.stop());
      return server;
    });
  },
  pool: async ({ after }, use) => {
    await use((server, config = {}) => {
      const pool = new pg.Pool({ connectionString: server.url, ...config });
      pool.on("error", () => undefined);
      after(() => pool.end());
      return pool;
    });
  },
  admin: async ({ after }, use) => {
    await use(async (server) => {
      const client = new pg.Client(server.url);
      client.on("error", () => undefined);
      await client.connect();
      after(() => client.end());
      return client;
    });
  },
  ready: async ({ pool, session }, use) => {
    await use(async (server, { deployment = {}, ...options } = {}) => {
      const opened = session(postgres(pool(server), options), deployment);
      await putInService(opened);
      return opened;
    });
  },
});

/** The server under another user. */
export function as(user: string, server: RunningSql): { readonly url: string } {
  return { url: server.url.replace("postgres@", `${user}@`) };
}
