/**
 * A backend in the memory of this process, with the same semantics as the real ones: for tests, demonstrations and
 * simulations. Several of them in one process are no protection between processes.
 */
import { randomBytes } from "node:crypto";
import type {
  AcquireReply,
  AcquireRequest,
  Backend,
  BackendIdentity,
  BackendSession,
  Capabilities,
  Deployment,
  ExtendReply,
  ExtendRequest,
  Examination,
  KeyRecord,
  ListPage,
  ListRequest,
  Quarantined,
  RaiseReply,
  RaiseRequest,
  ReleaseReply,
  StatusReply,
} from "../backend.js";
import { clampProposal, higherFence, mintFence, skewMicros } from "../engine/token.js";
import { BackendError, markMismatch, noQuarantine, refuseUnknownOptions } from "../errors.js";

/** The clocks of one memory backend. */
export interface MemoryClock {
  /** Milliseconds, never going back; expiry and quarantine go by it. */
  nowMs(): number;
  /** Wall time in microseconds; proposals are clamped to it. */
  wallMicros(): bigint;
}

/** Options of {@link memory}. */
export interface MemoryOptions {
  /** What messages and logs call it. Default "memory-1", "memory-2", … */
  readonly name?: string;
  /** Default: the clocks of this process. */
  readonly clock?: MemoryClock;
  /** Names the memory that a restart begins. Default: random. Simulations pass their own. */
  readonly newIncarnation?: () => string;
}

/** A backend in memory, with the faults of a real process to try. */
export interface MemoryBackend extends Backend {
  /** As if the process behind it had been restarted: with an empty memory, or with what it had. */
  restart(memoryIs: "lost" | "kept"): void;
}

interface Lock {
  readonly owner: string;
  readonly fence: bigint;
  readonly expiresAt: number;
}

interface Entry {
  readonly lock: Lock | undefined;
  readonly counter: bigint;
  readonly forgetAt: number;
}

interface Mark {
  readonly incarnation: string;
  readonly backends: number;
  readonly quorum: number;
  readonly maxTtlMs: number;
  /** Written by clients that reckon with lost memory. */
  readonly guarded: boolean;
  readonly joined: boolean;
  readonly quarantinedUntil: number;
  readonly identity: BackendIdentity;
}

const CAPABILITIES: Capabilities = {
  earlyByMs: 0,
  lateByMs: 0,
  expiryClock: "monotonic",
  durable: false,
  lists: true,
  atomicStep: "one turn of the event loop",
  acquireRoundTrips: 0,
};

const PROCESS_CLOCK: MemoryClock = {
  nowMs: () => performance.now(),
  wallMicros: () => BigInt(Date.now()) * 1000n,
};

const SWEEP_EVERY = 1024;

const OPTIONS: ReadonlySet<string> = new Set<keyof MemoryOptions>(["name", "clock", "newIncarnation"]);

let unnamed = 0;

/**
 * A backend in the memory of this process.
 *
 * @example
 * ```ts
 * import { createLocker } from "quorum-lock";
 * import { memory } from "quorum-lock/memory";
 *
 * const locker = createLocker({ backends: [memory(), memory(), memory()] });
 * await locker.withLock("invoice:42", async (lease) => console.log(lease.token));
 * await locker.close();
 * ```
 */
export function memory(options: MemoryOptions = {}): MemoryBackend {
  refuseUnknownOptions(options, OPTIONS, "the options of memory()");
  const name = options.name ?? `memory-${++unnamed}`;
  const clock = options.clock ?? PROCESS_CLOCK;
  const newIncarnation = options.newIncarnation ?? (() => randomBytes(16).toString("hex"));
  const entries = new Map<string, Entry>();
  let mark: Mark | undefined;
  let incarnation = newIncarnation();
  let untilSweep = SWEEP_EVERY;

  function open(deployment: Deployment): BackendSession {
    const skew = skewMicros(deployment.clockSkewMs);

    /** The mark of this memory, written when it is missing or belongs to another; refuses another configuration. */
    function currentMark(): Mark {
      const { backends, quorum, maxTtlMs } = deployment;
      const guarded = deployment.restartGuard !== "off";
      if (
        mark !== undefined &&
        (mark.backends !== backends ||
          mark.quorum !== quorum ||
          mark.maxTtlMs !== maxTtlMs ||
          mark.guarded !== guarded)
      ) {
        const memoryOf = (of: boolean): string => (of ? "volatile" : 'restartGuard: "off"');
        const marked = { ...mark, memory: memoryOf(mark.guarded) };
        throw markMismatch({ backend: name, mark: "its mark" }, marked, {
          ...deployment,
          memory: memoryOf(guarded),
        });
      }
      if (mark?.incarnation !== incarnation) {
        mark = {
          incarnation,
          backends,
          quorum,
          maxTtlMs,
          guarded,
          joined: mark !== undefined,
          quarantinedUntil: clock.nowMs() + (guarded ? deployment.quarantineMs : 0),
          identity: { serverId: incarnation, incarnation },
        };
      }
      return mark;
    }

    function quarantine(current: Mark): Quarantined | undefined {
      const remainingMs = current.quarantinedUntil - clock.nowMs();
      if (remainingMs <= 0) return undefined;
      return { kind: "quarantined", remainingMs, joined: current.joined, identity: current.identity };
    }

    /** What is there now: an expired lock is no lock, and a counter past its retention is 0. */
    function read(key: string, now = clock.nowMs()): Entry | undefined {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      if (entry.lock !== undefined && entry.lock.expiresAt > now) return entry;
      if (entry.forgetAt <= now) {
        entries.delete(key);
        return undefined;
      }
      return entry.lock === undefined ? entry : { ...entry, lock: undefined };
    }

    function write(key: string, lock: Lock | undefined, counter: bigint): void {
      entries.set(key, { lock, counter, forgetAt: clock.nowMs() + deployment.tokenRetentionMs });
    }

    function sweep(): void {
      if (--untilSweep > 0) return;
      untilSweep = SWEEP_EVERY;
      for (const key of entries.keys()) read(key);
    }

    return {
      async acquire(request: AcquireRequest): Promise<AcquireReply> {
        const current = currentMark();
        const quarantined = quarantine(current);
        if (quarantined !== undefined) return quarantined;
        sweep();
        const { identity } = current;
        const now = clock.nowMs();
        const entry = read(request.key, now);
        const lock = entry?.lock;
        if (lock !== undefined) {
          if (lock.owner === request.owner) return { kind: "granted", fence: lock.fence, identity };
          return { kind: "held", remainingMs: lock.expiresAt - now, identity };
        }
        const proposal = clampProposal(request.proposal, clock.wallMicros(), skew);
        const fence = mintFence(entry?.counter ?? 0n, proposal);
        if (fence === undefined) throw counterBroken(name, request.key);
        write(request.key, { owner: request.owner, fence, expiresAt: now + request.ttlMs }, fence);
        return { kind: "granted", fence, identity };
      },

      async raise(request: RaiseRequest): Promise<RaiseReply> {
        currentMark();
        const entry = read(request.key);
        const lock = entry?.lock;
        if (entry === undefined || lock?.owner !== request.owner || lock.fence !== request.fence) {
          return "refused";
        }
        write(request.key, lock, higherFence(entry.counter, request.token));
        return "raised";
      },

      async extend(request: ExtendRequest): Promise<ExtendReply> {
        const current = currentMark();
        const { identity } = current;
        const now = clock.nowMs();
        const entry = read(request.key, now);
        const expiresAt = now + request.ttlMs;
        const counter = higherFence(entry?.counter ?? 0n, request.token);
        const lock = entry?.lock;
        if (lock !== undefined) {
          if (lock.owner !== request.owner) return quarantine(current) ?? { kind: "not-owner", identity };
          write(request.key, { ...lock, expiresAt: Math.max(lock.expiresAt, expiresAt) }, counter);
          return { kind: "extended", identity };
        }
        const quarantined = quarantine(current);
        if (quarantined !== undefined) return quarantined;
        if (!request.mayHeal) return { kind: "not-owner", identity };
        write(request.key, { owner: request.owner, fence: counter, expiresAt }, counter);
        return { kind: "recreated", identity };
      },

      async release(key: string, owner: string): Promise<ReleaseReply> {
        const entry = read(key);
        if (entry?.lock?.owner !== owner) return "not-owner";
        write(key, undefined, entry.counter);
        return "released";
      },

      async forceRelease(key: string): Promise<boolean> {
        const entry = read(key);
        if (entry?.lock === undefined) return false;
        write(key, undefined, entry.counter);
        return true;
      },

      async inspect(key: string): Promise<KeyRecord> {
        const now = clock.nowMs();
        const entry = read(key, now);
        const lock = entry?.lock;
        if (entry === undefined || lock === undefined)
          return { lock: undefined, counter: entry?.counter ?? 0n };
        const { owner, fence, expiresAt } = lock;
        return { lock: { owner, fence, remainingMs: expiresAt - now }, counter: entry.counter };
      },

      async status(): Promise<StatusReply> {
        const current = currentMark();
        return quarantine(current) ?? { kind: "in-service", identity: current.identity };
      },

      async bootstrap(ofIncarnation: string): Promise<void> {
        const current = currentMark();
        if (current.incarnation === ofIncarnation) mark = { ...current, quarantinedUntil: clock.nowMs() };
      },

      async join(ofIncarnation: string): Promise<void> {
        const current = currentMark();
        if (current.incarnation === ofIncarnation) mark = { ...current, joined: true };
      },

      async list({ prefix, cursor, pageSize }: ListRequest): Promise<ListPage> {
        const now = clock.nowMs();
        const keys = [...entries.keys()]
          .filter((key) => key.startsWith(prefix) && (cursor === undefined || key > cursor))
          .filter((key) => read(key, now)?.lock !== undefined)
          .sort();
        const page = keys.slice(0, pageSize);
        return { keys: page, next: page.length < keys.length ? page.at(-1) : undefined };
      },

      async lift(key: string, token: bigint): Promise<bigint> {
        const entry = read(key);
        const counter = higherFence(entry?.counter ?? 0n, token);
        write(key, entry?.lock, counter);
        return counter;
      },

      async quarantine(): Promise<Quarantined> {
        const before = currentMark();
        if (!before.guarded) throw noQuarantine(name);
        incarnation = newIncarnation();
        const { joined, identity } = currentMark();
        return { kind: "quarantined", remainingMs: deployment.quarantineMs, joined, identity };
      },

      async examine(): Promise<Examination> {
        const text = "memory of this process: no protection between processes, and gone with it";
        return {
          server: "memory",
          wallMs: Number(clock.wallMicros() / 1000n),
          findings: [{ level: "warning", topic: "storage", text }],
        };
      },

      async close(): Promise<void> {
        // Nothing was opened.
      },
    };
  }

  return {
    kind: "memory",
    name,
    capabilities: CAPABILITIES,
    client: entries,
    open,
    restart(memoryIs: "lost" | "kept"): void {
      incarnation = newIncarnation();
      if (memoryIs === "kept") return;
      entries.clear();
      mark = undefined;
    },
  };
}

function counterBroken(backend: string, key: string): BackendError {
  const what = `the counter of key ${JSON.stringify(key)} has reached 2^53 - 2 and may not count any further`;
  return new BackendError("BACKEND_COUNTER_BROKEN", { backend, what });
}
