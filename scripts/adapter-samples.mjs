/**
 * One backend of each adapter, over a client that connects to nothing: for tables of what they can do, made from what they
 * say themselves. Adapters are the entry points of package.json that lie under dist/adapters/.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** How each is made; `make` gets the adapter's module and whatever is to be called at the end. */
const SAMPLES = {
  memory: ({ memory }) => ({ "": memory() }),
  noop: ({ noop }) => ({ "": noop({ quiet: true }) }),
  redis: async ({ redis }) => {
    const { createClient } = await import("redis");
    return { "": redis(createClient()), "`durable: true`": redis(createClient(), { durable: true }) };
  },
  postgres: async ({ postgres }) => ({ "": postgres(new (await import("pg")).default.Pool()) }),
  mysql: async ({ mysql }) => {
    const pool = (await import("mysql2/promise")).default.createPool("mysql://127.0.0.1:1/locks");
    return { "": mysql(pool) };
  },
  sqlite: async ({ sqlite }, atEnd) => {
    const folder = mkdtempSync(join(tmpdir(), "quorum-lock-sample-"));
    const database = new (await import("libsql")).default(join(folder, "locks.db"));
    atEnd(() => {
      database.close();
      rmSync(folder, { recursive: true, force: true });
    });
    return { "": sqlite(database) };
  },
  etcd: async ({ etcd }, atEnd) => {
    const client = new (await import("etcd3")).Etcd3({ hosts: "http://127.0.0.1:1" });
    atEnd(() => client.close());
    return { "": etcd(client) };
  },
  memcached: async ({ memcached }) => ({
    "": memcached((await import("memjs")).default.Client.create("127.0.0.1:1")),
  }),
  consul: ({ consul }) => ({ "": consul("http://127.0.0.1:1") }),
  zookeeper: async ({ zookeeper }) => ({
    "": zookeeper((await import("node-zookeeper-client")).default.createClient("127.0.0.1:1")),
  }),
  mongodb: async ({ mongodb }) => ({
    "": mongodb(new (await import("mongodb")).MongoClient("mongodb://127.0.0.1:1")),
  }),
};

/** The names of all adapters of the package, in the order of package.json. */
export function adapterNames() {
  const { exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  return Object.values(exports)
    .map((entry) => /^\.\/dist\/adapters\/([\w-]+)\.js$/.exec(entry.default ?? "")?.[1])
    .filter((name) => name !== undefined);
}

/** What each adapter declares: `[{ adapter, variant, capabilities }]`, variant "" for the defaults. Fails for one without a sample. */
export async function adapterCapabilities() {
  const rows = [];
  for (const adapter of adapterNames()) {
    const make = SAMPLES[adapter];
    if (make === undefined) throw new Error(`scripts/adapter-samples.mjs has no sample of ${adapter}`);
    const ends = [];
    try {
      const module = await import(pathToFileURL(join(ROOT, `dist/adapters/${adapter}.js`)).href);
      const backends = await make(module, (end) => ends.push(end));
      for (const [variant, { capabilities }] of Object.entries(backends)) {
        rows.push({ adapter, variant, capabilities });
      }
    } finally {
      for (const end of ends) end();
    }
  }
  return rows;
}
