/** What the tests of this folder share: files, sessions and fake hosts. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "libsql";
import type { BackendSession, Deployment } from "../../src/backend.js";
import { openMarkedSession } from "../../src/adapters/shared/marked-session.js";
import { fileOf } from "../../src/adapters/sqlite/client.js";
import { thisHost, type Host } from "../../src/adapters/sqlite/host.js";
import { sqliteStore } from "../../src/adapters/sqlite/store.js";
import { sqlite, type SqliteBackendOptions } from "../../src/adapters/sqlite.js";
import { DEPLOYMENT, putInService, test as redisTest } from "../redis/kit.ts";

interface Kit {
  /** A path at which nothing is. */
  readonly path: string;
  readonly database: (path: string) => Database.Database;
  /** A session in service. */
  readonly ready: (
    path: string,
    how?: SqliteBackendOptions & { readonly deployment?: Partial<Deployment> },
  ) => Promise<BackendSession>;
  /** A session of a process of that host. */
  readonly onHost: (path: string, host: Partial<Host>) => BackendSession;
}

export const test = redisTest.extend<Kit>({
  path: async ({ after }, use) => {
    const folder = await mkdtemp(join(tmpdir(), "quorum-lock-sqlite-"));
    after(() => rm(folder, { recursive: true, force: true }));
    await use(join(folder, "locks.db"));
  },
  database: async ({ after }, use) => {
    await use((path) => {
      const database = new Database(path);
      after(() => database.close());
      return database;
    });
  },
  ready: async ({ database, session }, use) => {
    await use(async (path, { deployment = {}, ...options } = {}) => {
      const opened = session(sqlite(database(path), options), deployment);
      await putInService(opened);
      return opened;
    });
  },
  onHost: async ({ database, after }, use) => {
    await use((path, host) => {
      const name = "locks.db";
      const store = sqliteStore({
        name,
        deployment: DEPLOYMENT,
        file: fileOf(database(path)),
        host: { ...thisHost(), ...host },
        synchronous: "normal",
        table: '"quorum_lock"',
      });
      const opened = openMarkedSession(store, { name, deployment: DEPLOYMENT, markPlace: "its mark" });
      after(() => opened.close());
      return opened;
    });
  },
});
