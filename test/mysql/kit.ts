/** What the tests of this folder share: servers and clients that are closed after the test. */
import mysql2, { type Pool, type PoolOptions } from "mysql2/promise";
import { mysql, type MysqlBackendOptions } from "../../src/adapters/mysql.js";
import type { BackendSession, Deployment } from "../../src/backend.js";
import { putInService, test as redisTest } from "../redis/kit.ts";
import { startMariadb, type RunningSql } from "../servers/sql-server.mjs";

interface Kit {
  readonly mariadb: (args?: readonly string[]) => Promise<RunningSql>;
  /** A pool as people make them. */
  readonly pool: (server: { readonly url: string }, options?: PoolOptions) => Pool;
  /** A session in service. */
  readonly ready: (
    server: { readonly url: string },
    how?: MysqlBackendOptions & { readonly deployment?: Partial<Deployment> },
  ) => Promise<BackendSession>;
}

export const test = redisTest.extend<Kit>({
  mariadb: async ({ after }, use) => {
    await use(async (args = []) => {
      const server = await startMariadb({ args });
      after(() => server.stop());
      return server;
    });
  },
  pool: async ({ after }, use) => {
    await use((server, options = {}) => {
      const pool = mysql2.createPool({ uri: server.url, ...options });
      after(() => pool.end().catch(() => undefined));
      return pool;
    });
  },
  ready: async ({ pool, session }, use) => {
    await use(async (server, { deployment = {}, ...options } = {}) => {
      const opened = session(mysql(pool(server), options), deployment);
      await putInService(opened);
      return opened;
    });
  },
});

/** The server under another user. */
export function as(user: string, server: RunningSql): { readonly url: string } {
  return { url: server.url.replace("test@", `${user}@`) };
}
