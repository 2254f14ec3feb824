/** One client process with its lockers, and what its workers do with them. */
import {
  createLocker,
  guardInProcess,
  NoQuorumError,
  QuorumLockError,
  type HandOver,
  type HighWaterMarks,
  type Locker,
} from "../../src/index.js";
import type { HeldLease } from "../../src/lock/lease.js";
import type { LeaseRecord } from "./history.js";
import type { Dice, Kernel } from "./kernel.js";
import type { LineLog } from "./line-log.js";
import { createPath, type Adversity, type Path } from "./network.js";
import { TTL_MS, type ClientPlan, type Plan } from "./plan.js";
import { createSimProcess, type SimProcess } from "./process.js";
import type { Profile } from "./profiles.js";
import type { Recorder } from "./recorder.js";
import type { Server } from "./server.js";

/** The world around a client. */
export interface Surroundings {
  readonly kernel: Kernel;
  readonly servers: readonly Server[];
  readonly recorder: Recorder;
  readonly line: LineLog;
  readonly plan: Plan;
  readonly profile: Profile;
  /** The guarded resource of every key. */
  readonly marks: HighWaterMarks;
  /** Leases on their way from one worker to another. */
  readonly handOvers: HandOver[];
  /** A server answered an acquire, and the client knows. */
  readonly answered: (server: Server, owner: string, kind: string) => void;
  /** A request will be executed once more. */
  readonly doubled: (operation: string, args: readonly unknown[]) => void;
  readonly granted: (owner: string) => void;
  /** Workers take no new lease. */
  readonly isOver: () => boolean;
}

/** A client. */
export interface Client {
  readonly process: SimProcess;
  readonly paths: readonly Path[];
  readonly lockers: readonly Locker[];
  /** Signals that callers gave to acquires. */
  readonly signals: readonly AbortSignal[];
  /** Starts its workers. */
  employ(): void;
  /** How many workers have not ended. */
  working(): number;
  /** Closes one of its lockers; its workers go on with a new one. */
  reopen(which: number): void;
  heal(): void;
  close(): Promise<void>;
  crash(): void;
}

export function createClient(surroundings: Surroundings, name: string, own: ClientPlan): Client {
  const { kernel, servers, recorder, plan } = surroundings;
  const process = createSimProcess(kernel, name, own.clocks);
  const dice = kernel.dice();
  const adversity = adversityOf(surroundings, dice);
  const paths = servers.map((server, i) =>
    createPath(kernel, {
      process,
      server,
      hopMsMax: dice.between(1, plan.hopMsMax),
      inOrder: plan.inOrder,
      calls: plan.natures[server.index]?.calls === true,
      adversity: adversity(i),
      resent: surroundings.profile.resent ?? false,
      line: surroundings.line,
      watcher: {
        sent: (operation, args) => recorder.sent(process, operation, args),
        doubled: surroundings.doubled,
        granted: surroundings.granted,
        answered: surroundings.answered,
      },
    }),
  );
  const signals: AbortSignal[] = [];
  let opened = 0;
  const lockers = own.workers.map(() => open());
  let working = 0;
  let closed = false;

  function open(): Locker {
    const name = `${process.name}/${++opened}`;
    const locker = createLocker({
      backends: paths.map((path) => path.connect(name)),
      system: process.system,
      ttlMs: Math.ceil(plan.maxTtlMs / 2),
      maxTtlMs: plan.maxTtlMs,
      clockSkewMs: plan.clockSkewMs,
      driftPpm: plan.driftPpm,
      ...(plan.quorum === undefined ? {} : { quorum: plan.quorum }),
      restartGuard: plan.guard,
      retryDelayMsMin: own.retryDelayMs[0],
      retryDelayMsMax: own.retryDelayMs[1],
    });
    locker.on("acquired", (event) => {
      const owner = recorder.acquired(process, event);
      if (owner !== undefined) surroundings.line.won(owner);
    });
    locker.on("adopted", (event) => recorder.adopted(process, event));
    locker.on("extended", (event) => recorder.extended(process, event));
    locker.on("lost", (event) => recorder.lost(process, event));
    return locker;
  }

  return {
    process,
    paths,
    lockers,
    signals,
    employ(): void {
      own.workers.forEach((workers, i) => {
        for (let left = workers; left > 0; left--) {
          working++;
          const worker = createWorker(surroundings, {
            process,
            dice: kernel.dice(),
            ttlMs: own.ttlMs,
            signals,
            // A closed one is replaced under it.
            locker: () => lockers[i] as Locker,
            isClosed: () => closed,
          });
          void worker().then(() => working--);
        }
      });
    },
    working: () => (process.hasCrashed() ? 0 : working),
    reopen(which: number): void {
      const index = which % lockers.length;
      // The process does it as soon as it runs.
      process.system.startTimer("work", 1, () => {
        if (closed) return;
        void lockers[index]?.close();
        lockers[index] = open();
      });
    },
    heal(): void {
      for (const path of paths) path.heal();
    },
    async close(): Promise<void> {
      closed = true;
      await Promise.all(lockers.map((locker) => locker.close()));
    },
    crash(): void {
      process.crash();
      recorder.crashed(process);
    },
  };
}

/** What the network does to the requests of a client on each of its paths. */
function adversityOf(
  { profile, servers }: Surroundings,
  dice: Dice,
): (path: number) => Readonly<Record<string, Adversity>> {
  const all = Object.entries(profile.adversity ?? {});
  const only = new Map(
    all.flatMap(([name, { onePath }]) =>
      onePath === true ? [[name, dice.whole(0, servers.length - 1)]] : [],
    ),
  );
  return (path) => Object.fromEntries(all.filter(([name]) => (only.get(name) ?? path) === path));
}

/** How often a holder pauses between its uses of one lease. */
const STEPS = [0, 0, 1, 1, 2, 4] as const;
/** How many of those who hold write. */
const WRITES = 0.6;

const REFUSED_IDLE_MS = 180;
/** Whoever comes back when a lock or a quarantine ends comes at the moment at which most can go wrong, or a little later. */
const PATIENT = 0.5;
const PATIENT_LATE_MS = 8;
/** How often a lease is given away rather than given back, and how often a worker looks for such a one. */
const HANDS_OVER = 0.08;
const ADOPTS = 0.5;

interface Workplace {
  readonly process: SimProcess;
  /** Of all leases; undefined where each has its own. */
  readonly ttlMs: number | undefined;
  readonly dice: Dice;
  readonly signals: AbortSignal[];
  readonly locker: () => Locker;
  readonly isClosed: () => boolean;
}

/** Takes leases, uses them and gives them back or not, until the world is over. */
function createWorker(surroundings: Surroundings, place: Workplace): () => Promise<void> {
  const { kernel, recorder, plan, profile, isOver, marks, handOvers } = surroundings;
  const { process, dice } = place;
  const [ttlMsMin, ttlMsMax] = profile.ttlMs ?? TTL_MS;

  function sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      process.system.startTimer("work", ms, resolve);
    });
  }

  /** When the last refusal said that it may be worth to try again; undefined where it did not tell. */
  let hintMs: number | undefined;

  /** How long a worker that was refused does something else, and whether it then comes back for the same key. */
  function afterRefusal(): { readonly idleMs: number; readonly isBack: boolean } {
    if (hintMs !== undefined && hintMs <= plan.durationMs && dice.chance(profile.patient ?? PATIENT)) {
      return { idleMs: hintMs + dice.between(0, PATIENT_LATE_MS), isBack: true };
    }
    return { idleMs: dice.between(0, profile.refusedIdleMs ?? REFUSED_IDLE_MS), isBack: false };
  }

  /** An error without a code is a fault of the code under test, which no refusal must hide. */
  function coded(error: unknown): undefined {
    if (!(error instanceof QuorumLockError)) kernel.fail(error);
    return undefined;
  }

  function refused(error: unknown): undefined {
    coded(error);
    hintMs =
      error instanceof QuorumLockError && "retryAfterMs" in error
        ? (error.retryAfterMs as number | undefined)
        : undefined;
    return undefined;
  }

  async function take(key: string, keepAlive: boolean): Promise<HeldLease | undefined> {
    hintMs = undefined;
    const ttlMs = place.ttlMs ?? dice.whole(ttlMsMin, ttlMsMax);
    // Who tries once keeps what it got for up to a second where it never met one of the backends, and that is not judged here.
    if (profile.absent !== true && dice.chance(0.1)) {
      const refusable = await place.locker().tryAcquire(key, { ttlMs, keepAlive }).catch(refused);
      if (refusable?.acquired === true) return refusable as HeldLease;
      if (refusable !== undefined) hintMs = refusable.retryAfterMs;
      return undefined;
    }
    const abort = dice.chance(0.1) ? new AbortController() : undefined;
    if (abort !== undefined) place.signals.push(abort.signal);
    const timer = abort && process.system.startTimer("work", dice.between(0, 100), () => abort.abort());
    const waitMs =
      profile.waitMs === undefined
        ? dice.whole(0, dice.chance(0.2) ? 400 : 80)
        : dice.whole(...profile.waitMs);
    const lease = await place
      .locker()
      .acquire(
        key,
        abort === undefined
          ? { ttlMs, keepAlive, waitMs }
          : { ttlMs, keepAlive, waitMs, signal: abort.signal },
      )
      .catch(refused);
    if (timer !== undefined) process.system.cancelTimer(timer);
    return lease as HeldLease | undefined;
  }

  /** Takes over a lease that somebody gave away, and passes it on when that fails. */
  async function adopt(): Promise<HeldLease | undefined> {
    const handOver = handOvers.shift();
    if (handOver === undefined) return undefined;
    const lease = await place
      .locker()
      .adopt(handOver, { keepAlive: dice.chance(0.5) })
      .catch((error: unknown) => {
        if (error instanceof NoQuorumError) kernel.plan(process.atMs(), () => handOvers.push(handOver));
        else coded(error);
      });
    return lease as HeldLease | undefined;
  }

  /** Asks the lease, and writes if it says that it is held: between the two anything may happen. */
  function use(lease: HeldLease, record: LeaseRecord): void {
    const { remainingMs } = lease;
    recorder.said(process, record, remainingMs);
    if (remainingMs <= 0 || !dice.chance(WRITES)) return;
    const travelMs = dice.chance(0.1) ? dice.between(0, 300) : dice.between(0, 5);
    kernel.plan(process.atMs() + travelMs, () => {
      let accepted = true;
      try {
        guardInProcess(marks, lease);
      } catch {
        accepted = false;
      }
      recorder.wrote(record, accepted);
    });
  }

  async function hold(lease: HeldLease, record: LeaseRecord): Promise<void> {
    if (dice.chance(0.3)) void lease.signal;
    use(lease, record);
    for (let steps = dice.pick(profile.steps ?? STEPS); steps > 0 && lease.remainingMs > 0; steps--) {
      await sleep(dice.between(0, profile.stepMs ?? 10));
      if (dice.chance(0.4)) use(lease, record);
      if (dice.chance(profile.extends ?? 0.2)) {
        await lease.extend(dice.chance(0.5) ? undefined : ttlMsMax).catch(coded);
      }
    }
    use(lease, record);
  }

  return async () => {
    const idleMs = profile.idleMs ?? 4;
    let wasRefused = false;
    let key: string | undefined;
    while (!isOver() && !process.hasCrashed() && !place.isClosed()) {
      // Whoever was refused does something else for a while.
      const pause = wasRefused ? afterRefusal() : { idleMs: dice.between(0, idleMs), isBack: false };
      await sleep(pause.idleMs);
      wasRefused = true;
      const usedUp = profile.ending !== "graceful" && dice.chance(profile.usedUp ?? 0.1);
      const keepAlive = !usedUp && dice.chance(profile.kept ?? 0.5);
      const adopts = handOvers.length > 0 && dice.chance(ADOPTS);
      const drawn = adopts ? undefined : dice.pick(plan.keys);
      // Whoever comes back when a lock ends wants that one.
      key = pause.isBack ? (key ?? drawn) : drawn;
      const lease = adopts || key === undefined ? await adopt() : await take(key, keepAlive);
      if (lease === undefined) continue;
      const record = recorder.given(process, lease);
      if (record === undefined) continue;
      wasRefused = false;
      if (usedUp) {
        use(lease, record);
        await sleep(lease.remainingMs);
        continue;
      }
      await hold(lease, record);
      recorder.over(record, process.atMs());
      if (profile.ending !== "graceful" && profile.calm !== true && dice.chance(HANDS_OVER)) {
        const handOver = await lease.handOver().catch(coded);
        // It travels: a process that was paused in the middle of code gives away later than the world's time is now.
        const travelMs = dice.between(0, 5);
        if (handOver !== undefined) kernel.plan(process.atMs() + travelMs, () => handOvers.push(handOver));
      } else await lease.release();
    }
  };
}
