/** What the tests of this folder share: servers, clients and sessions that are closed after the test. */
import { Etcd3, type IOptions } from "etcd3";
import { test as plainTest } from "vitest";
import { etcd, recommendedEtcdOptions, type EtcdBackendOptions } from "../../src/adapters/etcd.js";
import type { Backend, BackendSession, Deployment } from "../../src/backend.js";
import { createLocker, type Locker } from "../../src/lock/locker.js";
import type { LockerOptions } from "../../src/options.js";
import { deploymentOf, putInService } from "../redis/kit.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startEtcd, type EtcdName } from "../servers/start-etcd.ts";
import type { StartOptions } from "../servers/start-options.ts";
import { startTcpProxy, type TcpProxy } from "../servers/tcp-proxy.ts";

export const ETCDS: readonly EtcdName[] = ["etcd-3.4", "etcd-3.5"];

/** Locks of the tests last 5 s, so that none ends by accident. */
export const DEPLOYMENT: Deployment = deploymentOf({ maxTtlMs: 10_000, clockSkewMs: 500 });
export const TTL_MS = 5_000;

export interface Kit {
  /** Runs when the test is over, however it ends; the last one first. */
  readonly after: (close: () => unknown) => void;
  readonly server: (name: EtcdName, options?: StartOptions) => Promise<RunningServer>;
  readonly proxyTo: (server: RunningServer) => Promise<TcpProxy>;
  /** A client as people make them: only hosts, unless more is said. */
  readonly client: (
    servers: { readonly port: number } | readonly { readonly port: number }[],
    options?: Partial<IOptions>,
  ) => Etcd3;
  readonly session: (backend: Backend, deployment?: Partial<Deployment>) => BackendSession;
  /** A session in service, through a stock client. */
  readonly inService: (
    server: { readonly port: number },
    options?: EtcdBackendOptions,
  ) => Promise<BackendSession>;
  readonly locker: (options: LockerOptions) => Locker;
}

export const test = plainTest.extend<Kit>({
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  after: async ({}, use) => {
    const closes: (() => unknown)[] = [];
    await use((close) => closes.push(close));
    for (const close of closes.toReversed()) await close();
  },
  server: async ({ after }, use) => {
    await use(async (name, options) => {
      const started = await startEtcd(name, options);
      after(() => started.stop());
      return started;
    });
  },
  proxyTo: async ({ after }, use) => {
    await use(async (server) => {
      const proxy = await startTcpProxy({ targetPort: server.port });
      after(() => proxy.close());
      return proxy;
    });
  },
  client: async ({ after }, use) => {
    await use((servers, options = {}) => {
      const hosts = [servers].flat().map(({ port }) => `http://127.0.0.1:${port}`);
      const client = new Etcd3({ hosts, ...options });
      after(() => client.close());
      return client;
    });
  },
  session: async ({ after }, use) => {
    await use((backend, deployment = {}) => {
      const session = backend.open({ ...DEPLOYMENT, ...deployment });
      after(() => session.close());
      return session;
    });
  },
  inService: async ({ client, session }, use) => {
    await use(async (server, options = {}) => {
      const opened = session(etcd(client(server), options));
      await putInService(opened);
      return opened;
    });
  },
  locker: async ({ after }, use) => {
    await use((options) => {
      const locker = createLocker(options);
      after(() => locker.close());
      return locker;
    });
  },
});

/** A client with the settings that the adapter recommends, for a test to look into the server with. */
export function looking(server: { readonly port: number }): Etcd3 {
  return new Etcd3({ hosts: `http://127.0.0.1:${server.port}`, ...recommendedEtcdOptions() });
}

/** The keys below a prefix, as the server has them. */
export async function keysOf(server: { readonly port: number }, prefix: string): Promise<readonly string[]> {
  const client = looking(server);
  try {
    return await client.getAll().prefix(prefix).keys();
  } finally {
    client.close();
  }
}

/** How many leases the server has. */
export async function leasesOf(server: { readonly port: number }): Promise<number> {
  const client = looking(server);
  try {
    return (await client.leaseClient.leaseLeases()).leases.length;
  } finally {
    client.close();
  }
}
