/** Compiled only: `tsc -p tsconfig.json` fails when the public types are not what the documentation says. */
import type { Cluster, Redis } from "ioredis";
import type { Logger as Pino } from "pino";
import type { RedisClientType, RedisClusterType, RedisSentinelType } from "redis";
import type { RedisClientType as RedisClientType5 } from "redis-5";
import {
  openCasSession,
  type parseRecord,
  type CasStore,
  type KeptKey,
  type Look,
  type MarkLook,
} from "../../src/adapter.js";
import { memory, type MemoryBackend } from "../../src/adapters/memory.js";
import { noop } from "../../src/adapters/noop.js";
import { redis, type NodeRedisLike, type RedisLike } from "../../src/adapters/redis.js";
import {
  createHighWaterMarks,
  createLocker,
  createShards,
  guardInProcess,
  QuorumLockError,
  type AcquireOptions,
  type AcquireReply,
  type Backend,
  type BackendSession,
  type BackendExamination,
  type BackendView,
  type ErrorCode,
  type ExtendReply,
  type ForceReleaseReport,
  type HandOver,
  type KeyListing,
  type KeyReport,
  type Lease,
  type LeaseLostError,
  type Locker,
  type LockerEvents,
  type LiftReport,
  type LockHeldError,
  type Logger,
  type NoQuorumError,
  type QuarantinedError,
  type Refusal,
  type ReleaseOutcome,
  type Shard,
  type Shards,
  type System,
  type VoteReport,
  withBothLocks,
} from "../../src/index.js";
import {
  createVirtualTime,
  faulty,
  type FaultyBackend,
  type VirtualProcess,
} from "../../src/testing/index.js";

/** Compiles only when both are the same type. */
// oxlint-disable typescript/no-unnecessary-type-parameters -- this is how types are compared
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_yes: Same<A, B>): void {
  // For the compiler.
}
const some = <T>(): T => undefined as T;

export async function lockers(): Promise<void> {
  const locker = createLocker({ backends: [memory(), memory({ name: "b" })] });
  same<typeof locker, Locker>(true);
  createLocker({ backends: [], ttlMs: 1, waitMs: 2, quorum: 3, restartGuard: "strict", logger: console });
  // @ts-expect-error -- backends are required
  createLocker({});
  // @ts-expect-error -- no such option
  createLocker({ backends: [], ttl: 5 });
  // @ts-expect-error -- one of three
  createLocker({ backends: [], restartGuard: "never" });
  // @ts-expect-error -- milliseconds are numbers
  createLocker({ backends: [], ttlMs: "5s" });
  // @ts-expect-error -- left out rather than undefined or null
  createLocker({ backends: [], ttlMs: null });

  await using closing = locker;
  same<typeof closing, Locker>(true);
  same<Awaited<ReturnType<Locker["bootstrap"]>>, readonly string[]>(true);
}

export async function leases(locker: Locker): Promise<void> {
  const lease = await locker.acquire("key", {
    ttlMs: 1,
    waitMs: 2,
    keepAlive: true,
    signal: some<AbortSignal>(),
  });
  same<typeof lease, Lease>(true);
  same<typeof lease.token, bigint>(true);
  same<typeof lease.signal, AbortSignal>(true);
  same<typeof lease.remainingMs, number>(true);
  lease.assertHeld();
  lease.assertHeld(500);
  same<Awaited<ReturnType<Lease["extend"]>>, number>(true);
  same<Awaited<ReturnType<Lease["release"]>>, ReleaseOutcome>(true);
  same<ReleaseOutcome, "released" | "not-owner" | "unknown">(true);
  const text: string = lease.toJSON().token;
  await using disposed = lease;
  // @ts-expect-error -- read only
  disposed.token = BigInt(text);
  // @ts-expect-error -- the owner is the right to release, and nobody's business
  void lease.owner;
  guardInProcess(createHighWaterMarks(), lease);
  guardInProcess(createHighWaterMarks(), { key: "key", token: 5n });
  // @ts-expect-error -- a token is a bigint
  guardInProcess(createHighWaterMarks(), { key: "key", token: 5 });
}

export async function operators(locker: Locker): Promise<void> {
  same<Awaited<ReturnType<Locker["inspect"]>>, KeyReport>(true);
  const report = await locker.inspect("key");
  same<KeyReport["state"], "held" | "contended" | "orphan" | "free" | "unknown">(true);
  same<typeof report.token, bigint | undefined>(true);
  for (const view of report.views) {
    same<typeof view, BackendView>(true);
    switch (view.kind) {
      case "locked":
        same<typeof view.role, "holder" | "possible-holder" | "ghost" | "rival" | "orphan">(true);
        same<typeof view.quarantinedMs, number | undefined>(true);
        break;
      case "free":
        same<typeof view.counter, bigint>(true);
        break;
      case "fault":
        // @ts-expect-error -- it did not say
        void view.counter;
    }
    // @ts-expect-error -- the owner is nobody's business
    void view.owner;
  }
  const listing = locker.list({ prefix: "a", limit: 5 });
  same<typeof listing, KeyListing>(true);
  for await (const each of listing) same<typeof each, KeyReport>(true);
  same<typeof listing.coverage.complete, boolean>(true);
  // @ts-expect-error -- no such option
  locker.list({ keys: "a" });
  same<Awaited<ReturnType<Locker["forceRelease"]>>, ForceReleaseReport>(true);
  same<Awaited<ReturnType<Locker["lift"]>>, LiftReport>(true);
  // @ts-expect-error -- a token is a bigint
  await locker.lift("key", 5);
  same<Awaited<ReturnType<Locker["quarantine"]>>["remainingMs"], number>(true);
  same<Awaited<ReturnType<Locker["examine"]>>, readonly BackendExamination[]>(true);
}

export async function handOvers(lease: Lease, locker: Locker): Promise<void> {
  const handOver = await lease.handOver();
  same<typeof handOver, HandOver>(true);
  same<typeof handOver.token, string>(true);
  same<Awaited<ReturnType<Locker["adopt"]>>, Lease>(true);
  await locker.adopt(handOver, { keepAlive: true, ttlMs: 5, signal: some<AbortSignal>() });
  // @ts-expect-error -- it does not wait
  await locker.adopt(handOver, { waitMs: 5 });
  // @ts-expect-error -- JSON.parse it first
  await locker.adopt(JSON.stringify(handOver));
}

export async function refusals(locker: Locker): Promise<void> {
  const got = await locker.tryAcquire("key", { ttlMs: 5 });
  same<typeof got, Lease | Refusal>(true);
  // @ts-expect-error -- may be a refusal
  void got.token;
  if (got.acquired) {
    same<typeof got, Lease>(true);
    // @ts-expect-error -- a lease has no reason
    void got.reason;
  } else {
    same<typeof got, Refusal>(true);
    same<typeof got.reason, "held" | "no-quorum" | "quarantined">(true);
    same<typeof got.error, LockHeldError | NoQuorumError | QuarantinedError>(true);
    same<typeof got.votes, readonly VoteReport[]>(true);
    same<typeof got.retryAfterMs, number | undefined>(true);
    // @ts-expect-error -- a refusal has no token
    void got.token;
  }
  // @ts-expect-error -- tryAcquire does not wait
  await locker.tryAcquire("key", { waitMs: 5 });
}

export async function jobs(locker: Locker): Promise<void> {
  const promised = await locker.withLock("key", async () => Promise.resolve(5));
  same<typeof promised, number>(true);
  const plain = await locker.withLock("key", () => "text");
  same<typeof plain, string>(true);
  const either = await locker.withLock("key", (lease) => (lease.remainingMs > 5 ? "much" : undefined));
  same<typeof either, "much" | undefined>(true);
  const options: AcquireOptions = { keepAlive: false };
  const withOptions = await locker.withLock("key", options, async ({ token }) => Promise.resolve({ token }));
  same<typeof withOptions, { token: bigint }>(true);
  const nothing = await locker.withLock("key", async () => undefined);
  same<typeof nothing, undefined>(true);
  // @ts-expect-error -- the job is required
  await locker.withLock("key");
  // @ts-expect-error -- options come before the job
  await locker.withLock("key", () => 1, {});
}

export function events(locker: Locker): void {
  const stop = locker.on("lost", ({ key, token, reason }) => {
    same<typeof key, string>(true);
    same<typeof token, bigint>(true);
    same<typeof reason, "expired" | "forced-out" | "closed">(true);
  });
  same<typeof stop, () => void>(true);
  locker.on("backendFault", ({ backend, error }) => `${backend} ${error.code}`);
  // @ts-expect-error -- no such event
  locker.on("lostt", () => undefined);
  // @ts-expect-error -- no such field
  locker.on("lost", ({ votes }) => void votes);
  same<keyof LockerEvents, Parameters<Locker["on"]>[0]>(true);
}

export function errors(error: unknown): string {
  if (!(error instanceof QuorumLockError)) return "";
  same<typeof error.code, ErrorCode>(true);
  const lost = some<LeaseLostError>();
  same<typeof lost.code, "LEASE_LOST">(true);
  same<typeof lost.result, unknown>(true);
  // @ts-expect-error -- abstract
  void new QuorumLockError("bare");
  switch (error.code) {
    case "LOCK_HELD":
      return "held";
    // @ts-expect-error -- no such code
    case "TIMEOUT":
      return "never";
    default:
      return "";
  }
}

export function clients(single: Redis, cluster: Cluster): void {
  const likes: readonly RedisLike[] = [single, cluster];
  same<ReturnType<typeof redis>, Backend>(true);
  redis(single, { name: "a", durable: true, prefix: "p" });
  redis(cluster);
  // @ts-expect-error -- a URL is no client
  redis("redis://localhost");
  // @ts-expect-error -- no such option
  redis(single, { persistent: true });
  void likes;
}

export function loggers(pino: Pino): void {
  const logger: Logger = pino;
  createLocker({ backends: [], logger });
  // @ts-expect-error -- too few methods
  createLocker({ backends: [], logger: { info: () => undefined } });
}

/** Somebody else's backend needs nothing but the public types. */
export function custom(): Backend {
  const identity = { serverId: "s", incarnation: "i" };
  const session: BackendSession = {
    acquire: async ({ proposal }): Promise<AcquireReply> =>
      Promise.resolve({ kind: "granted", fence: proposal, identity }),
    raise: async () => Promise.resolve("raised"),
    extend: async ({ mayHeal }): Promise<ExtendReply> =>
      Promise.resolve({ kind: mayHeal ? "recreated" : "not-owner", identity }),
    release: async () => Promise.resolve("released"),
    forceRelease: async () => Promise.resolve(false),
    inspect: async () => Promise.resolve({ lock: undefined, counter: 0n }),
    status: async () => Promise.resolve({ kind: "in-service", identity }),
    bootstrap: async () => Promise.resolve(),
    join: async () => Promise.resolve(),
    list: async () => Promise.resolve({ keys: [], next: undefined }),
    lift: async (_key, token) => Promise.resolve(token),
    quarantine: async () => Promise.resolve({ kind: "quarantined", remainingMs: 1, joined: true, identity }),
    examine: async () => Promise.resolve({ server: "mine 1", wallMs: undefined, findings: [] }),
    close: async () => Promise.resolve(),
  };
  // @ts-expect-error -- a reply is never a boolean
  session.release = async () => Promise.resolve(true);
  // @ts-expect-error -- no such kind
  session.acquire = async () => Promise.resolve({ kind: "ok", fence: 1n, identity });
  // @ts-expect-error -- a quarantined backend says whether it was joined
  session.status = async () => Promise.resolve({ kind: "quarantined", remainingMs: 1, identity });
  return {
    kind: "mine",
    name: "mine-1",
    capabilities: {
      earlyByMs: 0,
      lateByMs: 0,
      expiryClock: "monotonic",
      durable: false,
      lists: true,
      atomicStep: "one turn",
      acquireRoundTrips: 1,
    },
    client: session,
    open: () => session,
  };
}

export function testing(): void {
  const time = createVirtualTime({ seed: 1 });
  const system: System = time.process({ ratePpm: 5 });
  same<ReturnType<typeof time.process>, VirtualProcess>(true);
  const backend: MemoryBackend = memory({ clock: time.backendClock() });
  const broken: FaultyBackend = faulty(backend, { sleep: time.sleep });
  createLocker({ backends: [broken, custom()], system });
}

export function moreClients(): void {
  same<ReturnType<typeof redis>, Backend>(true);
  redis(some<RedisClientType>());
  redis(some<RedisClientType5>(), { durable: true });
  redis(some<NodeRedisLike>());
  // @ts-expect-error -- a Cluster of node-redis takes other parameters
  redis(some<RedisClusterType>());
  // @ts-expect-error -- and so does a Sentinel
  redis(some<RedisSentinelType>());
  same<ReturnType<typeof noop>, Backend>(true);
  // @ts-expect-error -- no such option
  noop({ silent: true });
}

export function ownAdapters(deployment: Parameters<Backend["open"]>[0]): void {
  interface Revision {
    readonly revision: bigint;
  }
  const store = some<CasStore<Revision>>();
  const session = openCasSession(store, { name: "n", durable: true, deployment, markPlace: "the key mark" });
  same<typeof session, BackendSession>(true);
  same<Awaited<ReturnType<typeof store.look>>, Look<Revision>>(true);
  same<NonNullable<MarkLook<Revision>["mark"]>["version"], Revision>(true);
  same<ReturnType<typeof parseRecord>, KeptKey>(true);
  // @ts-expect-error -- where the mark lies must be said
  openCasSession(store, { name: "n", durable: true, deployment });
  // @ts-expect-error -- a store without putMark is none
  openCasSession(some<Omit<CasStore<Revision>, "putMark">>(), {
    name: "n",
    durable: true,
    deployment,
    markPlace: "m",
  });
}

/** A shard is whatever the caller made of it, and a job under both locks decides what comes of it. */
export function shards(locker: Locker): void {
  const two = createShards([{ name: "a", locker, weight: 2 }]);
  same<typeof two, Shards<{ name: string; locker: Locker; weight: number }>>(true);
  same<ReturnType<typeof two.shardFor>["locker"], Locker>(true);
  same<Shard["weight"], number | undefined>(true);
  const ran = withBothLocks({ from: locker, to: locker }, "key", (lease) => lease.token);
  same<typeof ran, Promise<bigint>>(true);
  // @ts-expect-error -- a shard has a name
  createShards([{ locker }]);
}
