/** What most conformance cases start from: a session in service, a fresh key, and short ways to ask. */
import type {
  AcquireReply,
  AcquireRequest,
  BackendSession,
  Deployment,
  ExtendReply,
  ExtendRequest,
  KeyRecord,
  Quarantined,
  RaiseReply,
  RaiseRequest,
  ReleaseReply,
} from "../../backend.js";
import { check, checkSame, codeOf } from "./check.js";
import type { ConformanceContext } from "./case.js";

/** Owners as a locker makes them: 32 hexadecimal digits. */
export const ALICE: string = "a11ce000000000000000000000000001";
/** Somebody else. */
export const BOB: string = "b0b00000000000000000000000000002";
/** A third one. */
export const CAROL: string = "ca401000000000000000000000000003";

/** The owner of contender number `index`. */
export function ownerOf(index: number): string {
  return index.toString(16).padStart(32, "0");
}

/** One session, one key. Every method asks the backend for that key. */
export interface Stage {
  readonly session: BackendSession;
  readonly key: string;
  /** A TTL that is worth waiting for. */
  readonly shortMs: number;
  /** A TTL that does not end during a case. */
  readonly longMs: number;
  /** By default for the long TTL, with a fresh proposal. */
  acquire(owner: string, more?: Partial<AcquireRequest>): Promise<AcquireReply>;
  /** Acquires, and fails the case unless it was granted. */
  grant(owner: string, more?: Partial<AcquireRequest>): Promise<bigint>;
  raise(request: Omit<RaiseRequest, "key">): Promise<RaiseReply>;
  /** By default for the long TTL and without the right to heal. */
  extend(
    owner: string,
    more: Partial<ExtendRequest> & { readonly token: bigint },
  ): Promise<ExtendReply["kind"]>;
  release(owner: string): Promise<ReleaseReply>;
  inspect(): Promise<KeyRecord>;
  /** Waits until every lock of that TTL that was granted before must be gone. */
  outlive(ttlMs: number): Promise<void>;
}

/** A stage on a backend that votes. */
export async function stageOn(context: ConformanceContext, overrides?: Partial<Deployment>): Promise<Stage> {
  const session = await context.open(overrides);
  await putInService(context, session);
  return stageWith(context, session);
}

/** A stage on a session as it is. */
export function stageWith(context: ConformanceContext, session: BackendSession): Stage {
  const { earlyByMs, lateByMs } = context.capabilities;
  const key = context.freshKey();
  const shortMs = 150 + 2 * Math.ceil(earlyByMs + lateByMs + context.toleranceMs);
  const longMs = Math.min(context.deployment.maxTtlMs, 10_000 + 10 * shortMs);

  function acquire(owner: string, more?: Partial<AcquireRequest>): Promise<AcquireReply> {
    return session.acquire({ key, owner, ttlMs: longMs, proposal: context.proposal(), ...more });
  }

  return {
    session,
    key,
    shortMs,
    longMs,
    acquire,
    async grant(owner, more): Promise<bigint> {
      const reply = await acquire(owner, more);
      check(reply.kind === "granted", `a free lock must be granted; the reply was ${reply.kind}`);
      return reply.fence;
    },
    raise: (request) => session.raise({ key, ...request }),
    async extend(owner, more): Promise<ExtendReply["kind"]> {
      return (await session.extend({ key, owner, ttlMs: longMs, mayHeal: false, ...more })).kind;
    },
    release: (owner) => session.release(key, owner),
    inspect: () => session.inspect(key),
    outlive: (ttlMs) => context.waitMs(ttlMs + lateByMs + context.toleranceMs + 1),
  };
}

/** Puts a backend into service, whatever it was before. */
export async function putInService(context: ConformanceContext, session: BackendSession): Promise<void> {
  if (context.inService !== undefined) await context.inService(session);
  else {
    const before = await answer(context, () => session.status());
    if (before.kind === "quarantined") await session.bootstrap(before.identity.incarnation);
  }
  checkSame("the status of a backend that was put into service", {
    is: (await session.status()).kind,
    should: "in-service",
  });
}

const RECONNECT_MS_MAX = 10_000;
const RECONNECT_STEP_MS = 20;
const WHILE_RESTARTING: readonly unknown[] = [
  "BACKEND_NOT_CONNECTED",
  "BACKEND_DISCONNECTED",
  "BACKEND_LOADING",
  "BACKEND_TIMEOUT",
  "BACKEND_SILENT",
];

/** Asks until the backend answers: right after a restart a session may not be connected yet. */
export async function answer<T>(context: ConformanceContext, ask: () => Promise<T>): Promise<T> {
  const giveUpAt = context.nowMs() + RECONNECT_MS_MAX;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!WHILE_RESTARTING.includes(codeOf(error)) || context.nowMs() > giveUpAt) throw error;
      await context.waitMs(RECONNECT_STEP_MS);
    }
  }
}

/** A session on a backend that has just lost everything. */
export async function newMemory(context: ConformanceContext): Promise<BackendSession> {
  await context.restart?.lost?.();
  const session = await context.open();
  await answer(context, () => session.status());
  return session;
}

/** Its status, which must be a quarantine. */
export async function quarantineOf(session: BackendSession): Promise<Quarantined> {
  const status = await session.status();
  check(status.kind === "quarantined", `the status is ${status.kind}, and should be quarantined`);
  return status;
}
