/** A locker over faulty memory backends in virtual time: the place where the tests of `src/lock` run. */
import { afterEach, beforeEach, expect } from "vitest";
import { memory, type MemoryBackend } from "../../src/adapters/memory.js";
import type {
  Locker,
  LockerEventName,
  LockerEvents,
  LockerOptions,
  QuorumLockError,
} from "../../src/index.js";
import { createLocker } from "../../src/index.js";
import {
  createVirtualTime,
  faulty,
  VirtualTimeError,
  type FaultyBackend,
  type VirtualClockOptions,
  type VirtualProcess,
  type VirtualTime,
} from "../../src/testing/index.js";

/** Something that a locker reported, and when by true time. */
export type Heard = {
  readonly [Name in LockerEventName]: {
    readonly name: Name;
    readonly event: LockerEvents[Name];
    readonly atMs: number;
  };
}[LockerEventName];

/** One client: a process, its links to the backends, its locker, and what that reported. */
export interface Client {
  readonly process: VirtualProcess;
  readonly links: readonly FaultyBackend[];
  readonly locker: Locker;
  readonly heard: readonly Heard[];
  /** The events of one name. */
  events<Name extends LockerEventName>(name: Name): readonly LockerEvents[Name][];
}

/** Options of one client. */
export interface ClientOptions extends Partial<Omit<LockerOptions, "backends" | "system">> {
  readonly clock?: VirtualClockOptions;
  /** The backends of its set, by index. Default all. */
  readonly of?: readonly number[];
}

/** A world with N memory backends. */
export interface Stage {
  readonly time: VirtualTime;
  readonly memories: readonly MemoryBackend[];
  client(options?: ClientOptions): Client;
  /** Lets time pass until it settles. */
  wait<T>(promise: Promise<T>): Promise<T>;
  /** The error with which it rejects. */
  error(promise: Promise<unknown>): Promise<QuorumLockError>;
  /** How long it takes to settle, in true time. */
  lasting(promise: Promise<unknown>): Promise<number>;
  /** Whether nothing is left to happen, and so no timer is left. */
  atRest(): Promise<boolean>;
  /** The owners that hold the key, by backend. */
  owners(key: string): Promise<readonly (string | undefined)[]>;
}

const NAMES: readonly LockerEventName[] = [
  "acquired",
  "refused",
  "extended",
  "atRisk",
  "lost",
  "released",
  "handedOver",
  "adopted",
  "backendFault",
  "backendRecovered",
  "backendQuarantined",
  "backendBootstrapped",
  "forceReleased",
  "lifted",
  "quarantineBegun",
  "warning",
];

const LIMIT_MS = 10_000_000;

/** Node then also notices rejections that nobody handles when it would in production. */
export function drain(): Promise<void> {
  return new Promise((done) => {
    setImmediate(done);
  });
}

/** A fresh world; the seed decides everything. */
export function createStage(options: { readonly n?: number; readonly seed?: number } = {}): Stage {
  const { n = 3, seed = 1 } = options;
  const time = createVirtualTime({ seed, drain });
  let incarnations = 0;
  const memories = Array.from({ length: n }, (_, i) =>
    memory({
      name: `b${i + 1}`,
      clock: time.backendClock(),
      newIncarnation: () => `incarnation-${++incarnations}`,
    }),
  );

  function client(wanted: ClientOptions = {}): Client {
    const { clock, of, ...lockerOptions } = wanted;
    const process = time.process(clock);
    const chosen = of === undefined ? memories : of.map((index) => memories[index] as MemoryBackend);
    const links = chosen.map((backend) =>
      faulty(backend, { sleep: time.sleep, random: time.random, receive: process.awake }),
    );
    const locker = createLocker({
      ttlMs: 1_000,
      waitMs: 2_000,
      ...lockerOptions,
      backends: links,
      system: process,
    });
    const heard: Heard[] = [];
    for (const name of NAMES) {
      locker.on(name, (event) => {
        heard.push({ name, event, atMs: time.trueMs() } as Heard);
      });
    }
    return {
      process,
      links,
      locker,
      heard,
      events<Name extends LockerEventName>(name: Name): readonly LockerEvents[Name][] {
        return heard.filter((each) => each.name === name).map((each) => each.event as LockerEvents[Name]);
      },
    };
  }

  const wait = <T>(promise: Promise<T>): Promise<T> => time.until(promise, { limitMs: LIMIT_MS });

  return {
    time,
    memories,
    client,
    wait,
    async error(promise: Promise<unknown>): Promise<QuorumLockError> {
      const outcome = await wait(
        promise.then(
          (value) => ({ value }),
          (error: unknown) => ({ error }),
        ),
      );
      if (!("error" in outcome)) expect.fail(`it resolved to ${String(outcome.value)} instead of rejecting`);
      return outcome.error as QuorumLockError;
    },
    async lasting(promise: Promise<unknown>): Promise<number> {
      const startedAt = time.trueMs();
      await wait(promise.catch(() => undefined));
      return time.trueMs() - startedAt;
    },
    async atRest(): Promise<boolean> {
      const never = new Promise<never>(() => undefined);
      return time.until(never, { limitMs: LIMIT_MS }).catch((error: unknown) => {
        if (!(error instanceof VirtualTimeError)) throw error;
        return error.message.includes("nothing is left");
      });
    },
    owners(key: string): Promise<readonly (string | undefined)[]> {
      return Promise.all(
        memories.map(async (backend) => (await backend.open(ANY_DEPLOYMENT).inspect(key)).lock?.owner),
      );
    },
  };
}

/** An operator's session looks at keys only, which no mark forbids. */
export const ANY_DEPLOYMENT = {
  backends: 3,
  quorum: 2,
  maxTtlMs: 60_000,
  clockSkewMs: 1_000,
  quarantineMs: 70_000,
  tokenRetentionMs: 604_800_000,
  restartGuard: "auto",
} as const;

/** A client whose deployment is in service; what it heard until then is forgotten. */
export async function startedClient(stage: Stage, options: ClientOptions = {}): Promise<Client> {
  const client = stage.client(options);
  const lease = await stage.wait(client.locker.acquire("(start)"));
  await stage.wait(lease.release());
  await stage.time.advance(300);
  (client.heard as Heard[]).length = 0;
  return client;
}

/** Fails a test under which a promise was rejected and nobody handled it. */
export function failOnUnhandledRejections(): void {
  let unhandled: unknown[] = [];
  const note = (reason: unknown): void => {
    unhandled.push(reason);
  };
  beforeEach(() => {
    unhandled = [];
    process.on("unhandledRejection", note);
  });
  afterEach(async () => {
    await drain();
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });
}
