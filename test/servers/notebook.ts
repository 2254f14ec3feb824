// One value in a server of any kind, written and read over a fresh connection each time, to see what the server remembers and whether it
// answers at all.
import { createRequire } from "node:module";
import type { Socket } from "node:net";
import { MongoClient, type Collection } from "mongodb";
import mysql from "mysql2/promise";
import pg from "pg";
import { respCall } from "./resp-call.ts";
import type { RunningServer } from "./running-server.ts";
import { textCall } from "./text-call.ts";

export interface Notebook {
  /** Resolves when the server has confirmed it; rejects after `timeoutMs`. */
  write(value: string): Promise<void>;
  /** `undefined` when it knows of none; rejects after `timeoutMs`. */
  read(): Promise<string | undefined>;
}

export function notebookOf(server: RunningServer, timeoutMs: number): Notebook {
  switch (server.server) {
    case "redis-7":
    case "redis-8":
    case "valkey-8":
      return ofRedis(server, timeoutMs);
    case "postgres":
      return ofPostgres(server, timeoutMs);
    case "mariadb":
      return ofMariadb(server, timeoutMs);
    case "etcd-3.4":
    case "etcd-3.5":
      return ofEtcd(server, timeoutMs);
    case "memcached-1.6.18":
    case "memcached-1.6.38":
      return ofMemcached(server, timeoutMs);
    case "consul":
      return ofConsul(server, timeoutMs);
    case "mongodb":
      return ofMongodb(server, timeoutMs);
    case "zookeeper":
      return ofZookeeper(server, timeoutMs);
  }
}

function ofRedis({ port }: RunningServer, timeoutMs: number): Notebook {
  return {
    write: async (value) => void (await respCall({ port, timeoutMs }, ["SET", "note", value])),
    read: async () => {
      const reply = await respCall({ port, timeoutMs }, ["GET", "note"]);
      return reply === null ? undefined : String(reply);
    },
  };
}

function ofPostgres({ url }: RunningServer, timeoutMs: number): Notebook {
  const ask = async (sql: string, values: string[] = []): Promise<{ note?: string }[]> => {
    const client = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: timeoutMs,
      query_timeout: timeoutMs,
    });
    client.on("error", () => undefined);
    try {
      await client.connect();
      await client.query("CREATE TABLE IF NOT EXISTS notes (id int PRIMARY KEY, note text)");
      return (await client.query<{ note: string }>(sql, values)).rows;
    } finally {
      // Not awaited: a frozen server never says goodbye.
      void client.end().catch(() => undefined);
    }
  };
  return {
    write: async (value) =>
      void (await ask("INSERT INTO notes VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET note = $1", [value])),
    read: async () => (await ask("SELECT note FROM notes"))[0]?.note,
  };
}

function ofMariadb({ url }: RunningServer, timeoutMs: number): Notebook {
  const ask = async (sql: string, values: string[] = []): Promise<{ note?: string }[]> => {
    const connection = await mysql.createConnection({ uri: url, connectTimeout: timeoutMs });
    connection.on("error", () => undefined);
    try {
      await connection.query({
        sql: "CREATE TABLE IF NOT EXISTS notes (id int PRIMARY KEY, note text)",
        timeout: timeoutMs,
      });
      const [rows] = await connection.query({ sql, timeout: timeoutMs }, values);
      return rows as { note?: string }[];
    } finally {
      connection.destroy();
    }
  };
  return {
    write: async (value) => void (await ask("REPLACE INTO notes VALUES (1, ?)", [value])),
    read: async () => (await ask("SELECT note FROM notes"))[0]?.note,
  };
}

function ofEtcd({ port }: RunningServer, timeoutMs: number): Notebook {
  const key = btoa("note");
  const ask = async (path: string, body: object): Promise<{ kvs?: { value: string }[] }> => {
    const response = await fetch(`http://127.0.0.1:${port}/v3/kv/${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!response.ok) throw new Error(`etcd answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as { kvs?: { value: string }[] };
  };
  return {
    write: async (value) => void (await ask("put", { key, value: btoa(value) })),
    read: async () => {
      const found = (await ask("range", { key })).kvs?.[0];
      return found === undefined ? undefined : atob(found.value);
    },
  };
}

function ofMemcached({ port }: RunningServer, timeoutMs: number): Notebook {
  const ask = (question: string, end: string): Promise<string> =>
    textCall({ port, timeoutMs, end }, question);
  return {
    write: async (value) => void (await ask(`set note 0 0 ${value.length}\r\n${value}\r\n`, "STORED\r\n")),
    read: async () => /^VALUE .*\r\n(.*)\r\n/.exec(await ask("get note\r\n", "END\r\n"))?.[1],
  };
}

function ofConsul({ port }: RunningServer, timeoutMs: number): Notebook {
  const url = `http://127.0.0.1:${port}/v1/kv/note`;
  return {
    write: async (value) => {
      const response = await fetch(url, {
        method: "PUT",
        body: value,
        signal: AbortSignal.timeout(timeoutMs),
      });
      if ((await response.text()) !== "true") throw new Error(`Consul answered ${response.status}`);
    },
    read: async () => {
      const response = await fetch(`${url}?raw&consistent`, { signal: AbortSignal.timeout(timeoutMs) });
      const text = await response.text();
      if (response.status === 404) return undefined;
      if (!response.ok) throw new Error(`Consul answered ${response.status}: ${text}`);
      return text;
    },
  };
}

function ofMongodb({ url }: RunningServer, timeoutMs: number): Notebook {
  const ask = async <T>(question: (notes: Collection<Note>) => Promise<T>): Promise<T> => {
    const client = new MongoClient(url, {
      serverSelectionTimeoutMS: timeoutMs,
      connectTimeoutMS: timeoutMs,
      socketTimeoutMS: timeoutMs,
      retryReads: false,
      retryWrites: false,
    });
    try {
      return await question(client.db("test").collection<Note>("notes"));
    } finally {
      await client.close();
    }
  };
  const confirmed = { upsert: true, writeConcern: { w: "majority", j: true } } as const;
  return {
    write: async (note) =>
      void (await ask((notes) => notes.updateOne({ _id: "note" }, { $set: { note } }, confirmed))),
    read: async () => (await ask((notes) => notes.findOne({ _id: "note" })))?.note,
  };
}

interface Note {
  _id: string;
  note?: string;
}

/** As far as it is used here; the package has no types. */
interface ZookeeperClient {
  connect(): void;
  close(): void;
  once(event: "connected", listener: () => void): void;
  create(path: string, data: Buffer, done: (error: { name: string } | null) => void): void;
  remove(path: string, done: () => void): void;
  getData(path: string, done: (error: { name: string } | null, data: Buffer) => void): void;
  readonly connectionManager: { readonly socket?: Socket };
}

const zookeeper = createRequire(import.meta.url)("node-zookeeper-client") as {
  createClient(address: string, options: { sessionTimeout: number; retries: number }): ZookeeperClient;
};

function ofZookeeper({ port }: RunningServer, timeoutMs: number): Notebook {
  const ask = async <T>(
    question: (client: ZookeeperClient, answer: (error: { name: string } | null, value: T) => void) => void,
  ): Promise<T> => {
    const client = zookeeper.createClient(`127.0.0.1:${port}`, { retries: 0, sessionTimeout: 4000 });
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no reply within ${timeoutMs} ms`)), timeoutMs);
        client.once("connected", () =>
          question(client, (error, value) =>
            error === null ? resolve(value) : reject(new Error(`ZooKeeper answered ${error.name}`)),
          ),
        );
        client.connect();
      });
    } finally {
      clearTimeout(timer);
      // A closed client still listens, and throws in nobody's hands at an answer that it no longer expects.
      client.connectionManager.socket?.removeAllListeners("data");
      client.close();
      client.connectionManager.socket?.resetAndDestroy();
    }
  };
  return {
    write: (value) =>
      ask((client, answer) => {
        client.remove("/note", () => {
          client.create("/note", Buffer.from(value), (error) => answer(error, undefined));
        });
      }),
    read: () =>
      ask<string | undefined>((client, answer) => {
        client.getData("/note", (error, data) => {
          const absent = error?.name === "NO_NODE";
          answer(absent ? null : error, absent || error !== null ? undefined : data.toString());
        });
      }),
  };
}
