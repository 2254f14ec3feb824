/** What the tests of this folder share: servers, clients and lockers that are closed after the test, and short forms. */
import { inspect } from "node:util";
import { Redis, type RedisOptions as IoredisOptions } from "ioredis";
import { afterAll, expect, test as plainTest } from "vitest";
import type { ServerName } from "../../scripts/servers.mjs";
import { redis, recommendedRedisOptions, type RedisBackendOptions } from "../../src/adapters/redis.js";
import type { AcquireReply, Backend, BackendSession, Deployment } from "../../src/backend.js";
import { quarantineMs } from "../../src/engine/validity.js";
import { BackendError, type BackendErrorCode } from "../../src/errors.js";
import { createLocker, type Locker } from "../../src/lock/locker.js";
import type { LockerOptions } from "../../src/options.js";
import { startRedis, startRedises, type RedisOptions, type RunningRedis } from "../servers/redis-server.ts";
import { startTcpProxy, type TcpProxy } from "../servers/tcp-proxy.ts";
import { waitUntil } from "../servers/wait-until.ts";

/** ioredis has two types for this one, which exclude each other. */
export type ClientOptions = Omit<IoredisOptions, "replyMapping">;

export interface Kit {
  /** Runs when the test is over, however it ends; the last one first. */
  readonly after: (close: () => unknown) => void;
  readonly server: (options?: RedisOptions) => Promise<RunningRedis>;
  readonly servers: (n: number, options?: Omit<RedisOptions, "port">) => Promise<RunningRedis[]>;
  readonly proxyTo: (server: RunningRedis) => Promise<TcpProxy>;
  /** A client with the recommended options, unless others are given. */
  readonly client: (server: { readonly port: number }, options?: ClientOptions) => Redis;
  /** A client as people make them: only port and host. */
  readonly stockClient: (server: { readonly port: number }, options?: ClientOptions) => Redis;
  /** A session on one server, by default as if it were one of three. */
  readonly session: (backend: Backend, deployment?: Partial<Deployment>) => BackendSession;
  /** A session in service on one server. */
  readonly inService: (server: { readonly port: number }, how?: InServiceOptions) => Promise<BackendSession>;
  readonly locker: (options: LockerOptions) => Locker;
}

export interface InServiceOptions extends RedisBackendOptions {
  readonly client?: ClientOptions;
  readonly deployment?: Partial<Deployment>;
}

export const test = plainTest.extend<Kit>({
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  after: async ({}, use) => {
    const closes: (() => unknown)[] = [];
    await use((close) => closes.push(close));
    for (const close of closes.toReversed()) await close();
  },
  server: async ({ after }, use) => {
    await use(async (options) => {
      const started = await startRedis(options);
      after(() => started.stop());
      return started;
    });
  },
  servers: async ({ after }, use) => {
    await use(async (n, options) => {
      const started = await startRedises(n, options);
      for (const each of started) after(() => each.stop());
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
  client: async ({ stockClient }, use) => {
    await use((server, options = {}) => stockClient(server, { ...recommendedRedisOptions(), ...options }));
  },
  stockClient: async ({ after }, use) => {
    await use((server, options = {}) => {
      const client = new Redis({ host: "127.0.0.1", port: server.port, ...options });
      client.on("error", () => undefined);
      after(() => client.disconnect());
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
    await use(async (server, { client: options = {}, deployment = {}, ...backend } = {}) => {
      const opened = session(redis(client(server, options), backend), deployment);
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

/** No rejection in these tests may go unhandled: in a user's process it would end the program. */
const unhandled: unknown[] = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
const warnings: Error[] = [];
process.on("warning", (warning) => warnings.push(warning));
afterAll(() => {
  expect(unhandled, "unhandled rejections").toEqual([]);
  expect(
    warnings.filter(({ name }) => name === "MaxListenersExceededWarning"),
    "listener leaks",
  ).toEqual([]);
});

/** Sessions of the tests are one of three; quarantines last 3 s or so. */
export const DEPLOYMENT: Deployment = deploymentOf({ maxTtlMs: 2_000, clockSkewMs: 500 });

export function deploymentOf(figures: {
  readonly maxTtlMs: number;
  readonly clockSkewMs: number;
}): Deployment {
  return {
    backends: 3,
    quorum: 2,
    ...figures,
    quarantineMs: quarantineMs({ ...figures, driftPpm: 5_000, lateByMs: 2 }),
    tokenRetentionMs: 3_600_000,
    restartGuard: "auto",
  };
}

export const ALICE = "a11ce000000000000000000000000001";
export const BOB = "b0b00000000000000000000000000002";

let lastProposal = 0n;

/** Strictly increasing microseconds of wall time. */
export function proposal(): bigint {
  const now = BigInt(Date.now()) * 1000n;
  lastProposal = now > lastProposal ? now : lastProposal + 1n;
  return lastProposal;
}

export function acquire(
  session: BackendSession,
  key: string,
  more: { readonly owner?: string; readonly ttlMs?: number; readonly proposal?: bigint } = {},
): Promise<AcquireReply> {
  return session.acquire({ key, owner: ALICE, ttlMs: 1_500, proposal: proposal(), ...more });
}

/** Acquires, and returns the fence; a refusal fails the test. */
export async function grant(
  session: BackendSession,
  key: string,
  more: { readonly owner?: string; readonly ttlMs?: number } = {},
): Promise<bigint> {
  const reply = await acquire(session, key, more);
  if (reply.kind !== "granted") throw new Error(`not granted but ${reply.kind}`);
  return reply.fence;
}

export async function putInService(session: BackendSession): Promise<void> {
  const status = await session.status();
  if (status.kind === "quarantined") await session.bootstrap(status.identity.incarnation);
  expect((await session.status()).kind).toBe("in-service");
}

/** Fails unless it rejects with that code, names the backend and, where given, says why in those words. */
export async function expectFault(
  promise: Promise<unknown>,
  code: BackendErrorCode,
  words?: RegExp,
): Promise<BackendError> {
  const { error, value } = await timed(promise);
  if (error === undefined) throw new Error(`no error but ${inspect(value)}`);
  return checkFault(error, code, words);
}

/** As {@link expectFault}, for an error that is there already. */
export function checkFault(error: unknown, code: BackendErrorCode, words: RegExp = /./): BackendError {
  if (!(error instanceof BackendError)) throw new Error("not a BackendError", { cause: error });
  expect(`${error.code}: ${error.message}`).toMatch(new RegExp(`^${code}: backend ${error.backend}: `));
  expect(error.message).toMatch(words);
  return error;
}

/** Resolves when `ask` resolves (to true, if to a boolean). Returns after how many ms. */
export async function eventually(
  what: string,
  timeoutMs: number,
  ask: () => Promise<unknown>,
): Promise<number> {
  const from = performance.now();
  await waitUntil({ what, timeoutMs }, async () => (await ask()) !== false);
  return performance.now() - from;
}

/** The settled outcome, and after how long. */
export async function timed<T>(
  promise: Promise<T>,
): Promise<{ readonly ms: number; readonly error?: unknown; readonly value?: T }> {
  const from = performance.now();
  try {
    const value = await promise;
    return { ms: performance.now() - from, value };
  } catch (error) {
    return { ms: performance.now() - from, error };
  }
}

export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Printed with the test's result; the figures of the docs come from here. */
export function figure(what: string, value: string): void {
  process.stdout.write(`figure: ${what}: ${value}\n`);
}

/** Backends on the servers through clients with recommended options. */
export function backendsOn(
  servers: readonly { readonly port: number }[],
  client: Kit["client"],
  options: RedisBackendOptions = {},
): Backend[] {
  return servers.map((server) => redis(client(server), options));
}

export const SERVERS: readonly ServerName[] = ["redis-7", "redis-8", "valkey-8"];
