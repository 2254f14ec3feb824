/** What the tests of this folder share: servers, clients and sessions that are closed after the test. */
import { Client, type ClientOptions, type ServerOptions } from "memjs";
import { test as plainTest } from "vitest";
import { memcached, type MemcachedBackendOptions } from "../../src/adapters/memcached.js";
import type { Backend, BackendSession, Deployment } from "../../src/backend.js";
import { createLocker, type Locker } from "../../src/lock/locker.js";
import type { LockerOptions } from "../../src/options.js";
import { deploymentOf, putInService } from "../redis/kit.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startMemcached, type MemcachedName } from "../servers/start-memcached.ts";
import type { StartOptions } from "../servers/start-options.ts";
import { startTcpProxy, type TcpProxy } from "../servers/tcp-proxy.ts";

export const MEMCACHEDS: readonly MemcachedName[] = ["memcached-1.6.18", "memcached-1.6.38"];

/** Locks of the tests last 5 s, so that none ends by accident. */
export const DEPLOYMENT: Deployment = deploymentOf({ maxTtlMs: 10_000, clockSkewMs: 500 });
export const TTL_MS = 5_000;

export interface Kit {
  /** Runs when the test is over, however it ends; the last one first. */
  readonly after: (close: () => unknown) => void;
  readonly server: (name: MemcachedName, options?: StartOptions) => Promise<RunningServer>;
  readonly proxyTo: (server: RunningServer) => Promise<TcpProxy>;
  /** A client as people make them: only host and port, unless more is said. */
  readonly client: (server: { readonly port: number }, options?: ClientOptions & ServerOptions) => Client;
  readonly session: (backend: Backend, deployment?: Partial<Deployment>) => BackendSession;
  readonly inService: (
    server: { readonly port: number },
    options?: MemcachedBackendOptions,
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
      const started = await startMemcached(name, options);
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
    await use(({ port }, options = {}) => {
      const client = Client.create(`127.0.0.1:${port}`, { logger: { log: () => undefined }, ...options });
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
      const opened = session(memcached(client(server), options));
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
