/** A lease on its way to another process: what is written down of it, and how that is read. */
import type { RestartGuard } from "../backend.js";
import { MAX_FENCE } from "../engine/token.js";
import { HandOverRefusedError, show } from "../errors.js";
import { checkKey, LIMITS, type ResolvedOptions } from "../options.js";

/**
 * A lease that its holder gave away, to be adopted by a locker in another process. Plain data that survives JSON. The
 * owner in it is the right to extend and release the lock: send it on a private channel, and do not log it.
 */
export interface HandOver {
  readonly version: 1;
  readonly key: string;
  readonly owner: string;
  /** As text, since a bigint is no JSON. */
  readonly token: string;
  /** The TTL that the lease was acquired with, in milliseconds. */
  readonly ttlMs: number;
  /** The validity that was left when it was handed over, in milliseconds. */
  readonly remainingMs: number;
  /** What both lockers must agree on. */
  readonly deployment: HandOverDeployment;
}

/** The figures of the deployment that the lease belongs to. */
export interface HandOverDeployment {
  readonly backends: number;
  readonly quorum: number;
  readonly maxTtlMs: number;
  readonly clockSkewMs: number;
  readonly driftPpm: number;
  readonly restartGuard: RestartGuard;
}

/** {@link HandOver}, read and checked. */
export interface HandedLease {
  readonly key: string;
  readonly owner: string;
  readonly token: bigint;
  readonly ttlMs: number;
  readonly remainingMs: number;
}

/** The figures of a locker, as a hand-over carries them. */
export function handOverDeployment({ deployment, clockBounds }: ResolvedOptions): HandOverDeployment {
  const { backends, quorum, maxTtlMs, clockSkewMs, restartGuard } = deployment;
  return { backends, quorum, maxTtlMs, clockSkewMs, driftPpm: clockBounds.driftPpm, restartGuard };
}

const OWNER = /^[\w-]{1,128}$/;

/** Reads a hand-over for a locker of these figures. Throws `HAND_OVER_REFUSED`. */
export function readHandOver(handOver: HandOver, ours: HandOverDeployment): HandedLease {
  const fields: unknown = handOver;
  if (typeof fields !== "object" || fields === null) {
    throw new HandOverRefusedError(`it is ${show(fields)} and no object; JSON.parse it first`);
  }
  const of = (name: keyof HandOver): unknown => Reflect.get(fields, name);
  if (of("version") !== 1) {
    throw new HandOverRefusedError(`its version is ${show(of("version"))}, this quorum-lock reads version 1`);
  }
  compare(of("deployment"), ours);
  const token = of("token");
  const owner = of("owner");
  const handed: HandedLease = {
    key: keyOf(of("key")),
    owner: typeof owner === "string" && OWNER.test(owner) ? owner : malformed("owner", "a secret text"),
    token: typeof token === "string" && /^\d{1,16}$/.test(token) ? BigInt(token) : 0n,
    ttlMs: figure("ttlMs", of("ttlMs"), { min: LIMITS.ttlMsMin, max: ours.maxTtlMs }),
    remainingMs: figure("remainingMs", of("remainingMs"), { min: 0, max: ours.maxTtlMs }),
  };
  if (handed.token < 1n || handed.token > MAX_FENCE)
    malformed("token", `a number from 1 to ${MAX_FENCE} as text`);
  return handed;
}

function keyOf(key: unknown): string {
  try {
    return checkKey(key as string);
  } catch {
    return malformed("key", "a key");
  }
}

function figure(
  name: keyof HandOver,
  value: unknown,
  { min, max }: { readonly min: number; readonly max: number },
): number {
  if (typeof value === "number" && value >= min && value <= max) return value;
  return malformed(name, `a number from ${min} to ${max}`);
}

/** A value is not shown: it may be the owner under another name. */
function malformed(name: string, rule: string): never {
  throw new HandOverRefusedError(`its ${name} is not ${rule}`);
}

/** A lease on other backends, or of another quorum, would be no lease here. */
function compare(theirs: unknown, ours: HandOverDeployment): void {
  if (typeof theirs !== "object" || theirs === null) malformed("deployment", "an object");
  for (const [name, value] of Object.entries(ours)) {
    const stated: unknown = Reflect.get(theirs as object, name);
    if (stated !== value) {
      throw new HandOverRefusedError(
        `it comes from a locker with ${name} ${show(stated)}; this one has ${show(value)}. All lockers of a deployment ` +
          `must be configured alike`,
      );
    }
  }
}
