/**
 * A table on which runs are played by hand: memory backends whose clocks stand still unless moved, and attempts that
 * take each step when told to. What is sent to a backend and what comes back is real; only the order is ours.
 */
import { memory, type MemoryBackend } from "../../src/adapters/memory.js";
import type { AcquireReply, BackendSession, Deployment, ExtendReply } from "../../src/backend.js";
import { castExtend, extensionVerdict, startExtension, type Extension } from "../../src/engine/extension.js";
import {
  castRaise,
  castVote,
  raiseSent,
  startRound,
  verdict,
  type Round,
  type Verdict,
} from "../../src/engine/round.js";
import { after, instant, type Instant } from "../../src/engine/time.js";
import { quarantineMs, validityMs } from "../../src/engine/validity.js";

export interface TableOptions {
  readonly n?: number;
  readonly quorum?: number;
  readonly restartGuard?: Deployment["restartGuard"];
  readonly clockSkewMs?: number;
}

const MAX_TTL_MS = 1_000;
const BOUNDS = { driftPpm: 0, earlyByMs: 0, grainMs: 0 };

/** One attempt, and the lease that it may become. */
export interface Player {
  readonly owner: string;
  round(): Round;
  /** Sends the acquire to that backend, and casts what it answers. */
  acquire(backend: number): Promise<AcquireReply["kind"]>;
  /** Sends the raise that is due there, with the fence of its first grant. */
  raise(backend: number): Promise<string>;
  release(backend: number): Promise<string>;
  verdict(): Verdict;
  /** Begins an extension round. */
  beginExtension(): void;
  /** Sends an extend to that backend and casts what it answers. */
  extend(backend: number, mayHeal: boolean): Promise<ExtendReply["kind"]>;
  extension(): ReturnType<typeof extensionVerdict>;
}

export interface Table {
  readonly deployment: Deployment;
  now(): Instant;
  /** Moves all clocks on. */
  pass(ms: number): void;
  /** An attempt that begins now, whose wall clock is off by so much. */
  attempt(owner: string, wallOffsetMs?: number): Player;
  /** "lock of X was gone: released/expired" */
  gone(backend: number): Promise<void>;
  /** The process behind it restarts with nothing. */
  restart(backend: number): void;
  session(backend: number): BackendSession;
  /** The owner and the counter of every backend, as in the design notes: "A 2". */
  show(): Promise<readonly string[]>;
}

/** Backends number 1 to n. */
export function layTable({ n = 3, quorum = 2, restartGuard = "off", clockSkewMs }: TableOptions = {}): Table {
  let nowMs = 0;
  // Without skew the wall clocks stand at 0: every proposal is clamped to it, and backends count 1, 2, 3.
  const wallMicros = (): bigint =>
    clockSkewMs === undefined ? 0n : BigInt(Math.round(nowMs * 1_000)) + 10n ** 12n;
  const deployment: Deployment = {
    backends: n,
    quorum,
    maxTtlMs: MAX_TTL_MS,
    clockSkewMs: clockSkewMs ?? 0,
    quarantineMs: quarantineMs({
      maxTtlMs: MAX_TTL_MS,
      clockSkewMs: clockSkewMs ?? 0,
      driftPpm: 0,
      lateByMs: 0,
    }),
    tokenRetentionMs: 10 ** 9,
    restartGuard,
  };
  const backends: MemoryBackend[] = Array.from({ length: n }, () =>
    memory({ clock: { nowMs: () => nowMs, wallMicros } }),
  );
  const sessions = backends.map((backend) => backend.open(deployment));

  function session(backend: number): BackendSession {
    const found = sessions[backend - 1];
    if (found === undefined) throw new RangeError(`there is no backend ${backend}`);
    return found;
  }

  function attempt(owner: string, wallOffsetMs = 0): Player {
    const startedAt = instant(nowMs);
    const proposal = wallMicros() + BigInt(wallOffsetMs) * 1_000n;
    const key = "k";
    const ttlMs = MAX_TTL_MS;
    let validUntil = after(startedAt, validityMs(ttlMs, BOUNDS));
    let round = startRound(n, quorum, validUntil);
    let extension: Extension | undefined;
    const fences = new Map<number, bigint>();

    return {
      owner,
      round: () => round,
      async acquire(backend) {
        const reply = await session(backend).acquire({ key, owner, ttlMs, proposal });
        if (reply.kind === "granted" && !fences.has(backend)) fences.set(backend, reply.fence);
        round = castVote(round, backend - 1, reply);
        return reply.kind;
      },
      async raise(backend) {
        round = raiseSent(round, backend - 1);
        const request = { key, owner, fence: fences.get(backend) ?? 0n, token: round.token ?? 0n };
        const reply = await session(backend).raise(request);
        round = castRaise(round, backend - 1, reply);
        return reply;
      },
      release: (backend) => session(backend).release(key, owner),
      verdict: () => verdict(round, instant(nowMs)),
      beginExtension() {
        extension = startExtension(n, quorum, validUntil);
      },
      async extend(backend, mayHeal) {
        const { kind } = await session(backend).extend({
          key,
          owner,
          ttlMs,
          token: round.token ?? 0n,
          mayHeal,
        });
        extension = castExtend(extension ?? startExtension(n, quorum, validUntil), backend - 1, kind);
        return kind;
      },
      extension() {
        const outcome = extensionVerdict(extension ?? startExtension(n, quorum, validUntil), instant(nowMs));
        if (outcome === "extended") validUntil = after(instant(nowMs), validityMs(ttlMs, BOUNDS));
        return outcome;
      },
    };
  }

  return {
    deployment,
    now: () => instant(nowMs),
    pass(ms) {
      nowMs += ms;
    },
    attempt,
    async gone(backend) {
      await session(backend).forceRelease("k");
    },
    restart: (backend) => backends[backend - 1]?.restart("lost"),
    session,
    show: () =>
      Promise.all(
        sessions.map(async (each) => {
          const { lock, counter } = await each.inspect("k");
          return `${lock?.owner ?? "-"} ${counter}`;
        }),
      ),
  };
}
