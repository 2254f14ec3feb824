/**
 * The stores beside Redis, each with what its users would write without a library: the key set if it is absent, and removed
 * if it is still the own one, by the store's own client and as few requests as it allows. No TTL, no token, no mark: the
 * floor below which no lock of ours can be. MongoDB is left out, since the server that stands in for it in tests says nothing about speed.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { etcd, recommendedEtcdOptions } from "../dist/adapters/etcd.js";
import { consul } from "../dist/adapters/consul.js";
import { memcached } from "../dist/adapters/memcached.js";
import { mysql } from "../dist/adapters/mysql.js";
import { postgres } from "../dist/adapters/postgres.js";
import { sqlite } from "../dist/adapters/sqlite.js";
import { zookeeper } from "../dist/adapters/zookeeper.js";

/** Connections of a pool, for the raw statements as for ours. */
const CONNECTIONS = 10;

/**
 * @typedef {object} Opened
 * @property {import("../dist/index.js").Backend} backend
 * @property {(key: string, owner: string) => Promise<boolean>} take
 * @property {(key: string, owner: string) => Promise<unknown>} give
 * @property {() => unknown} close
 */

/**
 * @typedef {object} Store
 * @property {string} name
 * @property {import("../scripts/servers.mjs").ServerName} [server] none is needed for SQLite
 * @property {string} raw what its users would write, in words
 * @property {(server: { port: number, url: string }) => Promise<Opened>} open
 */

/** @type {readonly Store[]} */
export const STORES = [
  {
    name: "PostgreSQL",
    server: "postgres",
    raw: "`INSERT … ON CONFLICT DO NOTHING`, `DELETE … WHERE owner`",
    async open({ url }) {
      const { default: pg } = await import("pg");
      const pool = new pg.Pool({ connectionString: url, max: CONNECTIONS });
      pool.on("error", () => undefined);
      await pool.query("CREATE TABLE raw (key text PRIMARY KEY, owner text NOT NULL)");
      const take = { name: "take", text: "INSERT INTO raw VALUES ($1, $2) ON CONFLICT DO NOTHING" };
      const give = { name: "give", text: "DELETE FROM raw WHERE key = $1 AND owner = $2" };
      return {
        backend: postgres(pool),
        take: async (key, owner) => (await pool.query({ ...take, values: [key, owner] })).rowCount === 1,
        give: (key, owner) => pool.query({ ...give, values: [key, owner] }),
        close: () => pool.end(),
      };
    },
  },
  {
    name: "MariaDB",
    server: "mariadb",
    raw: "`INSERT IGNORE`, `DELETE … WHERE owner`",
    async open({ url }) {
      const { createPool } = await import("mysql2/promise");
      const pool = createPool({ uri: url, connectionLimit: CONNECTIONS });
      await pool.query("CREATE TABLE raw (k varchar(200) PRIMARY KEY, owner varchar(64) NOT NULL)");
      return {
        backend: mysql(pool),
        async take(key, owner) {
          const [result] = await pool.execute("INSERT IGNORE INTO raw VALUES (?, ?)", [key, owner]);
          return result.affectedRows === 1;
        },
        give: (key, owner) => pool.execute("DELETE FROM raw WHERE k = ? AND owner = ?", [key, owner]),
        close: () => pool.end(),
      };
    },
  },
  {
    name: "etcd",
    server: "etcd-3.5",
    raw: "a transaction that puts the key if it was never created, one that deletes it",
    async open({ port }) {
      const { Etcd3 } = await import("etcd3");
      const client = new Etcd3({ hosts: `http://127.0.0.1:${port}`, ...recommendedEtcdOptions() });
      return {
        backend: etcd(client),
        async take(key, owner) {
          const create = client.if(key, "Create", "==", 0).then(client.put(key).value(owner));
          return (await create.commit()).succeeded;
        },
        give: (key, owner) => client.if(key, "Value", "==", owner).then(client.delete().key(key)).commit(),
        close: () => client.close(),
      };
    },
  },
  {
    name: "memcached",
    server: "memcached-1.6.38",
    raw: "`add`, `delete` (which asks for no owner)",
    async open({ port }) {
      const { Client } = await import("memjs");
      const client = Client.create(`127.0.0.1:${port}`, { retries: 0 });
      return {
        backend: memcached(client),
        take: (key, owner) => client.add(key, owner, { expires: 10 }),
        give: (key) => client.delete(key),
        close: () => client.quit(),
      };
    },
  },
  {
    name: "Consul",
    server: "consul",
    raw: "`PUT ?cas=0`, `DELETE` (which asks for no owner)",
    async open({ port }) {
      const address = `http://127.0.0.1:${port}`;
      const ask = async (path, request) => {
        const response = await fetch(`${address}/v1/kv/${path}`, request);
        return (await response.text()).trim() === "true";
      };
      return {
        backend: consul(address),
        take: (key, owner) => ask(`${encodeURIComponent(key)}?cas=0`, { method: "PUT", body: owner }),
        give: (key) => ask(encodeURIComponent(key), { method: "DELETE" }),
        close: () => undefined,
      };
    },
  },
  {
    name: "ZooKeeper",
    server: "zookeeper",
    raw: "`create` (ephemeral), `remove`",
    async open({ port }) {
      const { default: library } = await import("node-zookeeper-client");
      const address = `127.0.0.1:${port}`;
      const client = library.createClient(address);
      const connected = new Promise((resolve) => {
        client.once("connected", resolve);
      });
      client.connect();
      await connected;
      const called = (call) =>
        new Promise((resolve, reject) => {
          call((error, reply) => (error ? reject(error) : resolve(reply)));
        });
      const path = (key) => `/${key.replaceAll("/", "_")}`;
      const { EPHEMERAL } = library.CreateMode;
      return {
        backend: zookeeper(library.createClient(address)),
        async take(key, owner) {
          await called((done) => client.create(path(key), Buffer.from(owner), EPHEMERAL, done));
          return true;
        },
        give: (key) => called((done) => client.remove(path(key), -1, done)),
        close: () => client.close(),
      };
    },
  },
  {
    name: "SQLite",
    raw: "`INSERT … ON CONFLICT DO NOTHING`, `DELETE … WHERE owner`, WAL and `synchronous = NORMAL` too",
    async open() {
      const { default: Database } = await import("libsql");
      const folder = mkdtempSync(join(tmpdir(), "quorum-lock-bench-"));
      const plain = new Database(join(folder, "raw.db"));
      plain.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
      plain.exec("CREATE TABLE raw (key TEXT PRIMARY KEY, owner TEXT NOT NULL)");
      const insert = plain.prepare("INSERT INTO raw VALUES (?, ?) ON CONFLICT DO NOTHING");
      const remove = plain.prepare("DELETE FROM raw WHERE key = ? AND owner = ?");
      const ours = new Database(join(folder, "locks.db"));
      return {
        backend: sqlite(ours),
        take: async (key, owner) => insert.run(key, owner).changes === 1,
        give: async (key, owner) => remove.run(key, owner),
        close() {
          plain.close();
          ours.close();
          rmSync(folder, { recursive: true, force: true });
        },
      };
    },
  },
];

/** @param {Opened} opened */
export function rawSubject({ take, give }) {
  return {
    async acquire(key) {
      const owner = randomBytes(16).toString("hex");
      if (!(await take(key, owner))) throw new Error(`${key} was taken`);
      return () => give(key, owner);
    },
  };
}
