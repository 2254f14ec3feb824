/** What the tests of this folder share: servers, clients, backends on them, and writes that are held up on their way. */
import { createRequire } from "node:module";
import { afterAll } from "vitest";
import { zookeeper, type ZooKeeperBackendOptions, type ZooKeeperLike } from "../../src/adapters/zookeeper.js";
import type { OwnClient, Transaction, ZooKeeperAcl } from "../../src/adapters/zookeeper/client.js";
import type { Backend } from "../../src/backend.js";
import { test as plainTest } from "../redis/kit.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startZookeeper } from "../servers/start-zookeeper.ts";

/** The types of the package's types lack what it has had for years. */
interface Package {
  createClient(address: string, options?: object): UsersClient;
  readonly ACL: {
    readonly CREATOR_ALL_ACL: readonly ZooKeeperAcl[];
    readonly OPEN_ACL_UNSAFE: readonly ZooKeeperAcl[];
  };
}

/** A client as people have one. */
export interface UsersClient extends OwnClient {
  once(event: "connected", listener: () => void): void;
  listenerCount(event: string): number;
}

const { createClient, ACL } = createRequire(import.meta.url)("node-zookeeper-client") as Package;
export { ACL, createClient };

export interface ZooKeeperKit {
  readonly zooServer: (options?: { readonly port?: number }) => Promise<RunningServer>;
  /** A connected client of somebody else's. */
  readonly witness: (server: { readonly port: number }) => Promise<UsersClient>;
  /** One server for all tests of a file, which neither empty nor stop it, and a prefix of the test's own. */
  readonly place: Place;
}

/** A server and a prefix on it. */
export interface Place {
  readonly port: number;
  readonly prefix: string;
}

let places = 0;
let shared: Promise<RunningServer> | undefined;
afterAll(async () => {
  const server = await shared;
  await server?.stop();
});

export const test = plainTest.extend<ZooKeeperKit>({
  zooServer: async ({ after }, use) => {
    await use(async (options = {}) => {
      const started = await startZookeeper(options);
      after(() => started.stop());
      return started;
    });
  },
  witness: async ({ after }, use) => {
    await use(async ({ port }) => {
      const client = await connected(`127.0.0.1:${port}`);
      after(() => client.close());
      return client;
    });
  },
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  place: async ({}, use) => {
    shared ??= startZookeeper();
    const { port } = await shared;
    await use({ port, prefix: `place${++places}` });
  },
});

export function connected(address: string): Promise<UsersClient> {
  const client = createClient(address);
  return new Promise((resolve) => {
    client.once("connected", () => resolve(client));
    client.connect();
  });
}

export function backendOn(
  server: { readonly port: number; readonly prefix?: string },
  options: ZooKeeperBackendOptions = {},
): Backend {
  const { port, prefix } = server;
  return zookeeper(createClient(`127.0.0.1:${port}`), {
    ...(prefix === undefined ? {} : { prefix }),
    ...options,
  });
}

/** The text of a znode; undefined where there is none. */
export function textOf(client: UsersClient, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    client.getData(path, (error, data) => resolve(error ? undefined : (data?.toString("utf8") ?? "")));
  });
}

export function childrenOf(client: UsersClient, path: string): Promise<readonly string[]> {
  return new Promise((resolve) => {
    client.getChildren(path, (error, names) => resolve(error ? [] : names));
  });
}

/** The paths of all records of a prefix. */
export async function recordsOf(client: UsersClient, prefix: string): Promise<readonly string[]> {
  const folders = await childrenOf(client, `/${prefix}/keys`);
  const names = await Promise.all(
    folders.map(async (folder) => {
      const path = `/${prefix}/keys/${folder}`;
      return (await childrenOf(client, path)).map((name) => `${path}/${name}`);
    }),
  );
  return names.flat();
}

/** Removes a znode with all below it; nothing where there is none. The client's own way reaches one level down only. */
export async function removeAll(client: UsersClient, path: string): Promise<void> {
  for (const name of await childrenOf(client, path)) await removeAll(client, `${path}/${name}`);
  await new Promise<void>((resolve) => {
    client.remove(path, -1, () => resolve());
  });
}

/**
 * A client of which the adapter's own ones have a gate: what writes a record waits there while `meanwhile` runs, once.
 */
export function heldUp(address: string, meanwhile: () => Promise<void>): ZooKeeperLike {
  const Plain = createClient(address).constructor as new (address: string, options: object) => UsersClient;
  let held = false;
  class Gated extends Plain {
    override transaction(): Transaction {
      const transaction = super.transaction();
      const commit = transaction.commit.bind(transaction);
      transaction.commit = (callback) => {
        const steps = Reflect.get(transaction, "ops") as readonly { readonly path: string }[];
        if (held || !steps.some(({ path }) => path.includes("/keys/"))) {
          commit(callback);
          return;
        }
        held = true;
        const gate = async (): Promise<void> => {
          await meanwhile();
          commit(callback);
        };
        void gate();
      };
      return transaction;
    }
  }
  return new Gated(address, {});
}
