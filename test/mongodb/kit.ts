/** What the tests of this folder share: servers, clients, backends on them, and writes that are held up on their way. */
import { MongoClient, type MongoClientOptions } from "mongodb";
import { afterAll } from "vitest";
import { mongodb, type MongoBackendOptions, type MongoLike } from "../../src/adapters/mongodb.js";
import type { Backend } from "../../src/backend.js";
import { test as plainTest } from "../redis/kit.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startMongodb } from "../servers/start-mongodb.ts";

export interface MongoKit {
  readonly mongoServer: (options?: { readonly port?: number }) => Promise<RunningServer>;
  /** A client as people have one. */
  readonly client: (server: { readonly port: number }, options?: MongoClientOptions) => MongoClient;
  /** One server for all tests of a file, which neither empty nor stop it, and a database of the test's own. */
  readonly place: Place;
}

/** A server and a database on it. */
export interface Place {
  readonly port: number;
  readonly database: string;
}

/** A document of the adapter, or of somebody else. */
export interface Document {
  _id: string | { ql: "mark" };
  v?: string;
  text?: string;
  forgetAt?: Date;
}

let places = 0;
let shared: Promise<RunningServer> | undefined;
afterAll(async () => {
  const server = await shared;
  await server?.stop();
});

export const test = plainTest.extend<MongoKit>({
  mongoServer: async ({ after }, use) => {
    await use(async (options = {}) => {
      const started = await startMongodb(options);
      after(() => started.stop());
      return started;
    });
  },
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  client: async ({ after }, use) => {
    await use(({ port }, options = {}) => {
      const client = new MongoClient(`mongodb://127.0.0.1:${port}`, options);
      after(() => client.close());
      return client;
    });
  },
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  place: async ({}, use) => {
    shared ??= startMongodb();
    const { port } = await shared;
    await use({ port, database: `place${++places}` });
  },
});

export function backendOn(
  client: MongoLike,
  place: { readonly database?: string } = {},
  options: MongoBackendOptions = {},
): Backend {
  const { database } = place;
  return mongodb(client, { ...(database === undefined ? {} : { database }), ...options });
}

/** The client with a gate: the first write of a record waits there while `meanwhile` runs. */
export function heldUp(client: MongoClient, meanwhile: () => Promise<void>): MongoLike {
  let held = false;
  const gated = async <T>(write: () => Promise<T>): Promise<T> => {
    if (!held) {
      held = true;
      await meanwhile();
    }
    return write();
  };
  const isRecord = (of: unknown): boolean => typeof Reflect.get(Object(of), "_id") === "string";
  return through(client, {
    db: (...args: Parameters<MongoClient["db"]>) =>
      through(client.db(...args), {
        collection: (name: string, options: object) => {
          const collection = client.db(...args).collection<Document>(name, options);
          return through(collection, {
            insertOne: (document: Document, more: object) => {
              const write = (): Promise<unknown> => collection.insertOne(document, more);
              return isRecord(document) ? gated(write) : write();
            },
            updateOne: (filter: object, change: object, more: object) => {
              const write = (): Promise<unknown> => collection.updateOne(filter, change, more);
              return isRecord(filter) ? gated(write) : write();
            },
          });
        },
      }),
  });
}

/** The object, but for these members. */
function through<T extends object>(target: T, members: Readonly<Record<string, unknown>>): T {
  return new Proxy(target, {
    get(of, name) {
      const own = typeof name === "string" ? members[name] : undefined;
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(of, name);
      return typeof value === "function" ? (value.bind(of) as unknown) : value;
    },
  });
}
