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
  Ticket,
} from "../backend.js";
import {
  markBootstrapped,
  markFits,
  markJoined,
  markOf,
  quarantineLeftMs,
  type Mark,
  type MemoryKind,
} from "../engine/mark.js";
import {
  acquireKey,
  extendKey,
  forceReleaseKey,
  isForgotten,
  keptNow,
  leaveKey,
  liftKey,
  raiseKey,
  releaseKey,
  type ClockReading,
  type KeptKey,
  type RecordContext,
  type Step,
} from "../engine/record.js";
import { clampProposal, skewMicros } from "../engine/token.js";
import { noQuarantine, refuseUnknownOptions } from "../errors.js";
import { createCallers, type Called } from "./memory/line.js";
import { counterBroken, mismatch } from "./shared/refusals.js";

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

const CAPABILITIES: Capabilities = {
  earlyByMs: 0,
  lateByMs: 0,
  expiryClock: "monotonic",
  durable: false,
  lists: true,
  wakes: true,
  coalesces: "no",
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
  const entries = new Map<string, KeptKey>();
  let mark: Mark | undefined;
  let identity: BackendIdentity | undefined;
  let incarnation = newIncarnation();
  let untilSweep = SWEEP_EVERY;
  const callers = createCallers();

  function open(deployment: Deployment): BackendSession {
    const caller = callers.open();
    const skew = skewMicros(deployment.clockSkewMs);
    const memoryKind: MemoryKind = deployment.restartGuard === "off" ? "off" : "volatile";
    const { quarantineMs, tokenRetentionMs: retentionMs } = deployment;

    /** The mark that this session found fit, for the memory of then: values that are not edited need no second look. */
    let fit: Mark | undefined;
    let fitFor = "";

    /** The mark of this memory, written when it is missing or belongs to another; refuses another configuration. */
    function currentMark(): Mark {
      if (mark !== undefined && mark === fit && incarnation === fitFor) return mark;
      const expected = { figures: deployment, memory: memoryKind, origin: incarnation, quarantineMs };
      if (mark !== undefined && !markFits(mark, expected)) throw mismatch(name, mark, expected);
      const current = markOf(mark, expected, { id: "0", nowMs: clock.nowMs() });
      if (current !== mark) identity = { serverId: incarnation, incarnation: current.incarnation };
      mark = current;
      fit = current;
      fitFor = incarnation;
      return current;
    }

    function identityOf(current: Mark): BackendIdentity {
      // The same object while nothing changes, which the locker compares at every answer.
      identity ??= { serverId: incarnation, incarnation: current.incarnation };
      return identity;
    }

    function quarantine(current: Mark): Quarantined | undefined {
      const remainingMs = quarantineLeftMs(current, clock.nowMs());
      if (remainingMs <= 0) return undefined;
      return { kind: "quarantined", remainingMs, joined: current.joined, identity: identityOf(current) };
    }

    function reading(): ClockReading {
      const nowMs = clock.nowMs();
      return { atLeastMs: nowMs, atMostMs: nowMs };
    }

    /** Does one step to a key, in this turn of the event loop. */
    function step<Answer>(
      key: string,
      decide: (kept: KeptKey | undefined, context: RecordContext) => Step<Answer>,
    ): Answer {
      const { answer, next } = decide(entries.get(key), { now: reading(), retentionMs });
      if (next !== undefined) entries.set(key, next);
      return answer;
    }

    function sweep(): void {
      if (--untilSweep > 0) return;
      untilSweep = SWEEP_EVERY;
      const now = reading();
      for (const [key, kept] of entries) {
        if (isForgotten(kept, now)) entries.delete(key);
      }
    }

    return {
      async acquire({ key, owner, ttlMs, proposal, ticket }: AcquireRequest): Promise<AcquireReply> {
        const current = currentMark();
        const quarantined = quarantine(current);
        if (quarantined !== undefined) return quarantined;
        sweep();
        const clamped = clampProposal(proposal, clock.wallMicros(), skew);
        const waiter = ticket && { ...ticket, id: caller.address(ticket.id) };
        const request = { owner, ttlMs, proposal: clamped, ticket: waiter };
        const answer = step(key, (kept, context) => acquireKey(kept, request, context));
        switch (answer.kind) {
          case "granted":
            return { kind: "granted", fence: answer.fence, identity: identityOf(current) };
          case "held": {
            const { remainingMs } = answer;
            if (answer.reserved === undefined)
              return { kind: "held", remainingMs, identity: identityOf(current) };
            return { kind: "held", remainingMs, reserved: true, identity: identityOf(current) };
          }
          case "counter-full":
            throw counterBroken(name, key);
        }
      },

      async raise(request: RaiseRequest): Promise<RaiseReply> {
        currentMark();
        return step(request.key, (kept, context) => raiseKey(kept, request, context));
      },

      async extend(request: ExtendRequest): Promise<ExtendReply> {
        const current = currentMark();
        const quarantined = quarantine(current);
        const { owner, ttlMs, token, mayHeal } = request;
        const asked = { owner, ttlMs, token, mayHeal, quarantined: quarantined !== undefined };
        const kind = step(request.key, (kept, context) => extendKey(kept, asked, context));
        if (kind === "quarantined" && quarantined !== undefined) return quarantined;
        return { kind: kind === "quarantined" ? "not-owner" : kind, identity: identityOf(current) };
      },

      async release(key: string, owner: string, ticket?: Ticket): Promise<ReleaseReply> {
        const waiter = ticket && { ...ticket, id: caller.address(ticket.id) };
        const reply = step(key, (kept, context) => releaseKey(kept, { owner, ticket: waiter }, context));
        if (reply === "released") callers.freed(entries.get(key)?.line);
        return reply;
      },

      async forceRelease(key: string): Promise<boolean> {
        const wasLocked = step(key, forceReleaseKey);
        if (wasLocked) callers.freed(entries.get(key)?.line);
        return wasLocked;
      },

      async inspect(key: string): Promise<KeyRecord> {
        const now = reading();
        const { lock, counter } = keptNow(entries.get(key), now);
        if (lock === undefined) return { lock, counter };
        const { owner, fence, expiresAt } = lock;
        return { lock: { owner, fence, remainingMs: expiresAt - now.atLeastMs }, counter };
      },

      async status(): Promise<StatusReply> {
        const current = currentMark();
        return quarantine(current) ?? { kind: "in-service", identity: identityOf(current) };
      },

      async bootstrap(ofIncarnation: string): Promise<void> {
        const current = currentMark();
        mark = markBootstrapped(current, ofIncarnation) ?? current;
      },

      async join(ofIncarnation: string): Promise<void> {
        const current = currentMark();
        mark = markJoined(current, ofIncarnation) ?? current;
      },

      async list({ prefix, cursor, pageSize }: ListRequest): Promise<ListPage> {
        const now = reading();
        const keys = [...entries.keys()]
          .filter((key) => key.startsWith(prefix) && (cursor === undefined || key > cursor))
          .filter((key) => keptNow(entries.get(key), now).lock !== undefined)
          .sort();
        const page = keys.slice(0, pageSize);
        return { keys: page, next: page.length < keys.length ? page.at(-1) : undefined };
      },

      async lift(key: string, token: bigint): Promise<bigint> {
        return step(key, (kept, context) => liftKey(kept, token, context));
      },

      async quarantine(): Promise<Quarantined> {
        currentMark();
        if (memoryKind === "off") throw noQuarantine(name);
        // The mark that is there belongs to another memory from now on.
        incarnation = newIncarnation();
        const current = currentMark();
        const { joined } = current;
        return { kind: "quarantined", remainingMs: quarantineMs, joined, identity: identityOf(current) };
      },

      async examine(): Promise<Examination> {
        const text = "memory of this process: no protection between processes, and gone with it";
        return {
          server: "memory",
          wallMs: Number(clock.wallMicros() / 1000n),
          findings: [{ level: "warning", topic: "storage", text }],
        };
      },

      watch: (called: Called) => caller.watch(called),

      async leave(key: string, ticketId: string): Promise<void> {
        const before = entries.get(key)?.line?.reserved;
        step(key, (kept, context) => leaveKey(kept, caller.address(ticketId), context));
        const after = entries.get(key)?.line;
        if (after?.reserved !== before) callers.freed(after);
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
