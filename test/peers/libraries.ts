/** The libraries, made as their READMEs make them, for one attempt unless a test says otherwise. */
import { Redlock as SesameRedlock } from "@sesamecare-oss/redlock";
import type { Redis } from "ioredis";
import { RedlockMutex, type LockOptions } from "redis-semaphore";
import Redlock from "redlock";
import { createRedlock, IoredisAdapter } from "redlock-universal";
import { redis } from "../../src/adapters/redis.js";
import { createLocker, type Locker, type LockerOptions } from "../../src/index.js";
import type { Bench, Look } from "./kit.ts";

/** A lock that `acquire` of redlock and of its fork @sesamecare-oss/redlock resolve to. */
export interface RedlockLock {
  readonly value: string;
  readonly attempts: readonly Promise<Stats>[];
  expiration: number;
  release(): Promise<unknown>;
  extend(durationMs: number): Promise<RedlockLock>;
}

interface Stats {
  readonly quorumSize: number;
  readonly votesAgainst: ReadonlyMap<unknown, Error>;
}

/** What the two have in common, which is all that is used here. */
export interface RedlockLike {
  acquire(resources: string[], durationMs: number): Promise<RedlockLock>;
  using<T>(resources: string[], durationMs: number, routine: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

export interface RedlockSettings {
  readonly retryCount?: number;
}

export type MakeRedlock = (clients: readonly Redis[], settings?: RedlockSettings) => RedlockLike;

/** Their default is ten retries; without them every attempt ends as soon as it can. */
const TRY_ONCE: RedlockSettings = { retryCount: 0 };

/** The same test for redlock and for its fork. */
export function redlocks(look: (make: MakeRedlock, bench: Bench) => Promise<string>): {
  redlock: Look;
  "@sesamecare-oss/redlock": Look;
} {
  return {
    redlock: (bench) => look((clients, settings = TRY_ONCE) => new Redlock(clients, settings), bench),
    "@sesamecare-oss/redlock": (bench) =>
      look((clients, settings = TRY_ONCE) => new SesameRedlock(clients, settings), bench),
  };
}

export type UniversalLock = ReturnType<typeof createRedlock>;

export interface UniversalOptions {
  readonly key: string;
  readonly ttl: number;
  readonly quorum?: number;
  /** Of every adapter; theirs is 5000 when left out. */
  readonly timeout?: number;
}

/** redlock-universal: one lock object per key. */
export function universal(
  clients: readonly Redis[],
  { timeout, ...options }: UniversalOptions,
): UniversalLock {
  const adapters = clients.map(
    (client) => new IoredisAdapter(client, timeout === undefined ? {} : { timeout }),
  );
  return createRedlock({ adapters, retryAttempts: 0, ...options });
}

/** redis-semaphore: one mutex object per holder. Keeps the lock until it is released, unless `refreshInterval` is 0. */
export function semaphore(clients: readonly Redis[], key: string, options: LockOptions = {}): RedlockMutex {
  return new RedlockMutex([...clients], key, { acquireAttemptsLimit: 1, ...options });
}

/** quorum-lock, closed after the test. */
export function quorumLock(
  bench: Bench,
  clients: readonly Redis[],
  options: Omit<LockerOptions, "backends"> = {},
): Locker {
  const locker = createLocker({ backends: clients.map((client) => redis(client)), waitMs: 0, ...options });
  bench.after(() => locker.close());
  return locker;
}

/** Acquires and releases once, so that every server knows the scripts and is in service. */
export const warm = {
  async redlock(redlock: RedlockLike): Promise<void> {
    await (await redlock.acquire(["warm-up"], 10_000)).release();
    // The release is settled by a majority; the third may still be on its way.
    await (await redlock.acquire(["warm-up-2"], 10_000)).release();
  },
  async universal(lock: UniversalLock): Promise<void> {
    await lock.release(await lock.acquire());
  },
  async semaphore(mutex: RedlockMutex): Promise<void> {
    await mutex.acquire();
    await mutex.release();
  },
  async quorumLock(locker: Locker): Promise<void> {
    await (await locker.acquire("warm-up", { waitMs: 5_000 })).release();
  },
};
