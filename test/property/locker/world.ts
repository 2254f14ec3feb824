/**
 * One simulated world, decided by its seed: the production locker in several client processes, over memory backends
 * behind a bad network, with clocks at their bounds, crashes, losses of memory, stalls, suspends and wall jumps. It
 * yields the history that the checkers read.
 */
import { createHash } from "node:crypto";
import { memory, type MemoryClock } from "../../../src/adapters/memory.js";
import type { Backend, BackendSession, Deployment } from "../../../src/backend.js";
import type { System } from "../../../src/engine/time.js";
import { BackendError } from "../../../src/errors.js";
import {
  createHighWaterMarks,
  createLocker,
  guardInProcess,
  type Lease,
  type Locker,
} from "../../../src/index.js";
import type { HeldLease } from "../../../src/lock/lease.js";
import {
  createVirtualTime,
  faulty,
  seededRandom,
  type FaultyBackend,
  type VirtualProcess,
} from "../../../src/testing/index.js";
import type { History, HistoryRecord } from "./history.js";

/** What kind of world. */
export interface Profile {
  /** Default: 1 to 7, as the seed says. */
  readonly n?: number;
  readonly guard?: "strict" | "auto";
  /** Backends lose their memory now and then. Default true. */
  readonly losses?: boolean;
  /** Wall clocks of clients jump anywhere; only without losses. Default false. */
  readonly madClocks?: boolean;
  /** Locks vanish at any moment: the backends' clocks run far outside the drift. Exclusion is not promised. */
  readonly madExpiry?: boolean;
  /** Default 1 to 4. */
  readonly clients?: number;
  readonly keys?: number;
  /** How long messages may be delayed now and then, in milliseconds. */
  readonly tailMs?: number;
  /** Wall clocks differ by up to half of this in each direction; also the locker's option. Default 40. */
  readonly clockSkewMs?: number;
  readonly driftPpm?: number;
  readonly durationMs?: number;
  /** Half of the leases are kept. Default true. */
  readonly keepAlive?: boolean;
  /** What goes wrong; one of them is picked at a time, so one named twice happens twice as often. */
  readonly troubles?: readonly Trouble[];
  /** The longest pause between two troubles in milliseconds. Default 120. */
  readonly paceMs?: number;
  /** Troubles begin at once, while a new deployment is being started. */
  readonly fromTheStart?: boolean;
  /** How many of the leases are used to the last moment of their validity, from 0 to 1. Default 0.1. */
  readonly usedUp?: number;
  /** Every lease has the longest TTL. */
  readonly longest?: boolean;
  /** Whether the last phase is run. Default true. */
  readonly liveness?: boolean;
}

/** What goes wrong. */
export type Trouble =
  "forget" | "restart" | "hang" | "break" | "delay" | "lossy" | "pause" | "jump" | "replace" | "nothing";

const TROUBLES: readonly Trouble[] = [
  ...(["forget", "forget", "forget", "restart", "hang", "hang", "break", "delay", "delay"] as const),
  ...(["lossy", "lossy", "pause", "pause", "pause", "jump", "replace", "nothing"] as const),
];

/** How a world is broken on purpose. */
export interface Sabotage {
  readonly backend?: (world: {
    readonly clock: MemoryClock;
    readonly incarnation: () => string;
  }) => Restartable;
  readonly system?: (process: VirtualProcess, wallOffsetMs: () => number) => System;
}

interface Restartable extends Backend {
  restart(memoryIs: "lost" | "kept"): void;
}

interface HeldRecord {
  readonly id: number;
  readonly lease: HeldLease;
  readonly client: ClientProcess;
  over: boolean;
  lossNoted: boolean;
}

interface ClientProcess {
  readonly name: string;
  readonly process: VirtualProcess;
  readonly system: System;
  readonly locker: Locker;
  readonly links: readonly FaultyBackend[];
  /** True time until which it was stalled or suspended last. */
  disturbedUntil: number;
  dead: boolean;
  wallOffsetMs: number;
}

const MAX_TTL_MS = 400;
/** A connection that owes an answer for so long is replaced; as the socketTimeout of a real client. */
const CONNECTION_MS = 300;

export function drain(): Promise<void> {
  return new Promise((done) => {
    setImmediate(done);
  });
}

/** Runs the world of that seed. */
export async function runWorld(
  seed: number,
  profile: Profile = {},
  sabotage: Sabotage = {},
): Promise<History> {
  const dice = seededRandom(seed);
  const time = createVirtualTime({ seed: seed + 7_000_000, drain });
  const between = (min: number, max: number): number => min + dice() * (max - min);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(dice() * list.length)] as T;
  const chance = (probability: number): boolean => dice() < probability;

  const n = profile.n ?? pick([1, 2, 3, 3, 3, 4, 5, 5, 7]);
  const guard = profile.guard ?? pick(["strict", "auto"] as const);
  const driftPpm = profile.driftPpm ?? pick([5_000, 20_000, 50_000]);
  const clockSkewMs = profile.clockSkewMs ?? 40;
  const losses = profile.losses ?? !(profile.madClocks ?? false);
  const durationMs = profile.durationMs ?? 1_500;
  const quorum = chance(0.1) ? n : Math.floor(n / 2) + 1;
  const rate = (): number =>
    chance(0.6) ? pick([-1, 1]) * driftPpm : Math.round(between(-driftPpm, driftPpm));
  const offset = (): number =>
    chance(0.5)
      ? pick([-1, 1]) * (clockSkewMs / 2 - 1)
      : Math.round(between(-clockSkewMs / 2, clockSkewMs / 2));
  const keys = Array.from({ length: profile.keys ?? pick([1, 1, 2]) }, (_, i) => `key-${i + 1}`);

  const records: HistoryRecord[] = [];
  const held = new Map<number, HeldRecord>();
  const marks = createHighWaterMarks();
  const attempts = new Map<string, number>();
  let leases = 0;
  let incarnations = 0;
  let over = false;

  const backends: Restartable[] = Array.from({ length: n }, (_, i) => {
    const clock = time.backendClock({ ratePpm: rate(), wallOffsetMs: offset() });
    const used = profile.madExpiry === true ? withMadExpiry(clock, seededRandom(seed * 31 + i)) : clock;
    const incarnation = (): string => `memory-${++incarnations}`;
    const made =
      sabotage.backend?.({ clock: used, incarnation }) ??
      memory({ clock: used, newIncarnation: incarnation });
    return { ...made, name: `b${i + 1}`, client: {} };
  });

  function startClient(name: string): ClientProcess {
    const wallOffsetMs = offset();
    const process = time.process({ ratePpm: rate(), wallOffsetMs });
    const links = backends.map((backend) => {
      const link = faulty(backend, { sleep: time.sleep, random: time.random, receive: process.awake });
      link.setDelay({ toMs: [0.5, between(1, 8)], backMs: [0.5, between(1, 8)] });
      return link;
    });
    const client: { -readonly [Field in keyof ClientProcess]: ClientProcess[Field] } = {
      name,
      process,
      links,
      system: process,
      locker: undefined as unknown as Locker,
      disturbedUntil: 0,
      dead: false,
      wallOffsetMs,
    };
    const base = sabotage.system?.(process, () => client.wallOffsetMs) ?? process;
    client.system = {
      ...base,
      newOwner(): string {
        const owner = base.newOwner();
        attempts.set(hashOf(owner), time.trueMs());
        return owner;
      },
    };
    client.locker = createLocker({
      backends: links.map((link) => connected(link, { ...time, awake: process.awake })),
      system: client.system,
      ttlMs: 200,
      maxTtlMs: MAX_TTL_MS,
      clockSkewMs,
      driftPpm,
      quorum,
      restartGuard: guard,
      retryDelayMsMin: 2,
      retryDelayMsMax: 40,
    });
    client.locker.on("acquired", (event) => {
      acquiredAt.set(`${event.key} ${event.token} ${event.ownerHash}`, time.trueMs());
    });
    client.locker.on("extended", ({ key, token }) => {
      records.push({ kind: "extended", atMs: time.trueMs(), key, token, client: name });
      noteBelief(key);
    });
    return client;
  }

  const acquiredAt = new Map<string, number>();

  /** Who believes to hold the key now; looks at nothing that the looking would change. */
  function noteBelief(key: string): void {
    const valid = [...held.values()]
      .filter(({ lease, over, client }) => lease.key === key && !over && !client.dead)
      .map(({ id, lease, client }) => ({
        lease: id,
        token: lease.token,
        client: client.name,
        remainingMs: lease.validUntil - client.system.look(),
      }))
      .filter(({ remainingMs }) => remainingMs > 0);
    if (valid.length > 1) records.push({ kind: "belief", atMs: time.trueMs(), key, valid });
  }

  function noteLease(lease: Lease, client: ClientProcess): HeldRecord {
    const entry: HeldRecord = {
      id: ++leases,
      lease: lease as HeldLease,
      client,
      over: false,
      lossNoted: false,
    };
    held.set(entry.id, entry);
    const { ownerHash } = lease.toJSON();
    records.push({
      kind: "acquired",
      atMs: acquiredAt.get(`${lease.key} ${lease.token} ${ownerHash}`) ?? time.trueMs(),
      lease: entry.id,
      key: lease.key,
      token: lease.token,
      attemptAtMs: attempts.get(ownerHash) ?? 0,
      client: client.name,
    });
    lease.signal.addEventListener("abort", () => {
      const remainingMs = entry.lease.validUntil - client.system.look();
      const undisturbed = client.disturbedUntil === 0 || time.trueMs() - client.disturbedUntil > MAX_TTL_MS;
      if (undisturbed && (lease.signal.reason as { reason?: string }).reason === "expired" && !entry.over) {
        records.push({ kind: "loss", atMs: time.trueMs(), lease: entry.id, remainingMs });
      }
      entry.over = true;
      entry.lossNoted = true;
    });
    noteBelief(lease.key);
    return entry;
  }

  /** Sleeps by a timer of the process, as code in it would. */
  function sleepIn(client: ClientProcess, ms: number): Promise<void> {
    return new Promise((resolve) => {
      client.process.startTimer("work", ms, resolve);
    });
  }

  async function work(client: ClientProcess): Promise<void> {
    while (!over && !client.dead) {
      await sleepIn(client, between(0, 60));
      const key = pick(keys);
      const usedUp = chance(profile.usedUp ?? 0.1);
      const keepAlive = (profile.keepAlive ?? true) && !usedUp && chance(0.5);
      const abort = chance(0.1) ? new AbortController() : undefined;
      if (abort !== undefined) client.process.startTimer("work", between(0, 100), () => abort.abort());
      const lease = await client.locker
        .acquire(key, {
          ttlMs: profile.longest === true ? MAX_TTL_MS : Math.round(between(60, MAX_TTL_MS)),
          waitMs: Math.round(between(0, chance(0.2) ? 1_000 : 300)),
          keepAlive,
          ...(abort === undefined ? {} : { signal: abort.signal }),
        })
        .catch(() => undefined);
      if (lease === undefined) continue;
      const entry = noteLease(lease, client);
      for (let step = usedUp ? 0 : Math.floor(between(0, 5)); step > 0 && !entry.over; step--) {
        await sleepIn(client, between(0, 120));
        noteBelief(key);
        if (chance(0.3)) void write(lease);
        if (chance(0.2)) await lease.extend(chance(0.5) ? undefined : MAX_TTL_MS).catch(() => undefined);
      }
      if (usedUp) await sleepIn(client, lease.remainingMs);
      else {
        entry.over = true;
        await lease.release();
      }
    }
  }

  async function write({ key, token }: Lease): Promise<void> {
    await time.sleep(chance(0.1) ? between(0, 300) : between(0, 5));
    let accepted = true;
    try {
      guardInProcess(marks, { key, token });
    } catch {
      accepted = false;
    }
    records.push({ kind: "write", atMs: time.trueMs(), key, token, accepted });
  }

  const clients: ClientProcess[] = [];
  let started = 0;
  function newClient(): ClientProcess {
    const client = startClient(`client-${++started}`);
    clients.push(client);
    return client;
  }

  function employ(client: ClientProcess): void {
    for (let workers = chance(0.3) ? 2 : 1; workers > 0; workers--) void work(client);
  }

  /** Whether a loss of this memory stays within the assumptions. */
  async function mayForget(index: number): Promise<boolean> {
    if (guard === "strict") return true;
    // A5: another backend is in service, or its memory of now was told that a deployment exists.
    for (const [i, backend] of backends.entries()) {
      if (i === index) continue;
      const status = await backend.open(deploymentOf({ n, quorum, clockSkewMs })).status();
      if (status.kind === "in-service" || status.joined) return true;
    }
    return false;
  }

  async function trouble(): Promise<void> {
    await time.sleep(between(0, profile.paceMs ?? 120));
    const client = pick(clients);
    const index = Math.floor(dice() * n);
    const backend = backends[index] as Restartable;
    const link = client.links[index] as FaultyBackend;
    const tailMs = profile.tailMs ?? 150;
    switch (pick(profile.troubles ?? TROUBLES)) {
      case "forget":
        if (losses && (await mayForget(index))) restart(backend, index, "lost");
        return;
      case "restart":
        if (losses) restart(backend, index, "kept");
        return;
      case "hang":
        link.hang();
        void time.sleep(between(10, 400)).then(() => link.resume());
        return;
      case "break":
        link.kill();
        void time.sleep(between(5, 200)).then(() => link.revive());
        return;
      case "delay":
        link.setDelay({ toMs: [0.5, between(5, tailMs)], backMs: [0.5, between(5, tailMs)] });
        void time.sleep(between(20, 300)).then(() => link.setDelay({ toMs: [0.5, 5], backMs: [0.5, 5] }));
        return;
      case "lossy":
        link.loseRequests(between(0, 0.4));
        link.loseReplies(between(0, 0.4));
        link.duplicate(between(0, 0.5), between(1, 300));
        return;
      case "pause":
        disturb(client, between(5, 500));
        return;
      case "jump": {
        const ms = profile.madClocks === true ? between(-100_000, 100_000) : 0;
        client.process.jumpWall(ms);
        client.wallOffsetMs += ms;
        return;
      }
      case "replace":
        client.dead = true;
        client.process.crash();
        clients.splice(clients.indexOf(client), 1);
        employ(newClient());
        return;
      case "nothing":
    }
  }

  function disturb(client: ClientProcess, ms: number): void {
    if (chance(0.5)) client.process.suspend(ms);
    else client.process.stall(ms);
    client.disturbedUntil = Number.POSITIVE_INFINITY;
    // Right after it, when it may believe what is no longer true.
    void client.process.awake().then(() => {
      client.disturbedUntil = time.trueMs();
      keys.forEach(noteBelief);
    });
  }

  function restart(backend: Restartable, index: number, memoryIs: "lost" | "kept"): void {
    // Its connections break.
    for (const { links } of clients) {
      links[index]?.kill();
      links[index]?.revive();
    }
    backend.restart(memoryIs);
  }

  async function run(): Promise<void> {
    const first = newClient();
    if (guard === "strict") await first.locker.bootstrap();
    employ(first);
    for (let more = (profile.clients ?? pick([1, 2, 2, 3, 3, 4])) - 1; more > 0; more--) employ(newClient());
    // Under "auto" the first loss comes after the deployment is known to somebody.
    if (guard === "auto" && profile.fromTheStart !== true) await time.sleep(100);
    while (time.trueMs() < durationMs) await trouble();
    over = true;
  }

  await time.until(run(), { limitMs: durationMs + 10_000 });
  for (const entry of held.values()) {
    const { lease, client } = entry;
    if (entry.over || entry.lossNoted || client.dead) continue;
    const quietMs = time.trueMs() - client.disturbedUntil;
    if (quietMs > 500 && lease.validUntil - client.system.look() < -1) {
      records.push({ kind: "silent-loss", atMs: time.trueMs(), lease: entry.id });
    }
  }
  if (profile.liveness ?? true) await lastPhase();
  return {
    seed,
    records,
    assumptions: {
      memoryKept: !losses,
      wallClocksAgree: profile.madClocks !== true,
      expiryByClock: profile.madExpiry !== true,
    },
  };

  /** All is well again, but for a minority that is down; a newcomer must get every lock. */
  async function lastPhase(): Promise<void> {
    for (const client of clients) {
      for (const link of client.links) {
        link.resume();
        link.revive();
      }
    }
    for (const client of clients) {
      client.dead = true;
      client.process.crash();
    }
    const newcomer = startClient("newcomer");
    const down = n - quorum;
    // Under "auto" a deployment that nobody ever started needs all of its backends.
    const known = await mayForget(-1).catch(() => false);
    if (known || guard === "strict") for (const link of newcomer.links.slice(n - down)) link.kill();
    const boundMs =
      Math.ceil(((MAX_TTL_MS + 2 * clockSkewMs + 10) * (1 + driftPpm / 1e6)) / (1 - driftPpm / 1e6)) + 1_500;
    for (const key of keys) {
      const startedAt = time.trueMs();
      const error = await time
        .until(newcomer.locker.acquire(key, { waitMs: boundMs, ttlMs: MAX_TTL_MS }), {
          limitMs: boundMs * 2 + 10_000,
        })
        .then(
          (lease) => {
            noteLease(lease, newcomer).over = true;
            return undefined;
          },
          (failure: unknown) => String(failure),
        );
      records.push({
        kind: "last-acquire",
        atMs: time.trueMs(),
        key,
        waitedMs: time.trueMs() - startedAt,
        boundMs,
        error,
      });
    }
  }
}

function hashOf(owner: string): string {
  return createHash("sha256").update(owner).digest("hex").slice(0, 8);
}

function deploymentOf(figures: { n: number; quorum: number; clockSkewMs: number }): Deployment {
  return {
    backends: figures.n,
    quorum: figures.quorum,
    maxTtlMs: MAX_TTL_MS,
    clockSkewMs: figures.clockSkewMs,
    quarantineMs: 1_000,
    tokenRetentionMs: 604_800_000,
    restartGuard: "strict",
  };
}

/** What a real client does about a connection that no longer answers: it fails, and the request may still arrive. */
function connected(
  link: FaultyBackend,
  client: { trueMs(): number; sleep(ms: number): Promise<void>; awake(): Promise<void> },
): Backend {
  const waiting = new Set<{ readonly sinceMs: number; readonly reject: (error: Error) => void }>();
  let watched = false;
  const watch = async (): Promise<void> => {
    watched = true;
    while (waiting.size > 0) {
      await client.sleep(CONNECTION_MS);
      await client.awake();
      for (const { sinceMs, reject } of waiting) {
        if (client.trueMs() - sinceMs < CONNECTION_MS) continue;
        const what = "no answer; connection replaced";
        reject(new BackendError("BACKEND_DISCONNECTED", { backend: link.name, what }));
      }
    }
    watched = false;
  };
  const bounded = <T>(answer: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      const entry = {
        sinceMs: client.trueMs(),
        reject(error: Error): void {
          waiting.delete(entry);
          reject(error);
        },
      };
      waiting.add(entry);
      answer.then(resolve, reject).finally(() => waiting.delete(entry));
      if (!watched) void watch();
    });
  return {
    kind: link.kind,
    name: link.name,
    capabilities: link.capabilities,
    client: link,
    open(deployment: Deployment): BackendSession {
      const session = link.open(deployment);
      return {
        acquire: (request) => bounded(session.acquire(request)),
        raise: (request) => bounded(session.raise(request)),
        extend: (request) => bounded(session.extend(request)),
        release: (key, owner) => bounded(session.release(key, owner)),
        forceRelease: (key) => bounded(session.forceRelease(key)),
        inspect: (key) => bounded(session.inspect(key)),
        status: () => bounded(session.status()),
        bootstrap: (incarnation) => bounded(session.bootstrap(incarnation)),
        join: (incarnation) => bounded(session.join(incarnation)),
        list: (request) => bounded(session.list(request)),
        lift: (key, token) => bounded(session.lift(key, token)),
        quarantine: () => bounded(session.quarantine()),
        examine: () => bounded(session.examine()),
        close: () => session.close(),
      };
    },
  };
}

const LEAP = 0.05;

/** Expiry at arbitrary moments: now and then its clock leaps ahead, as a wall clock does. */
function withMadExpiry(clock: MemoryClock, random: () => number): MemoryClock {
  let aheadMs = 0;
  return {
    nowMs(): number {
      if (random() < LEAP) aheadMs += random() * MAX_TTL_MS;
      return clock.nowMs() + aheadMs;
    },
    wallMicros: () => clock.wallMicros(),
  };
}
