/** User options to resolved options, once, at the edge. Every default and every rule stands in this file. */
import type { Backend, Deployment, RestartGuard } from "./backend.js";
import { isQuorum, majority } from "./engine/quorum.js";
import type { RetryBounds } from "./engine/schedule.js";
import type { System } from "./engine/time.js";
import { MAX_FENCE } from "./engine/token.js";
import { quarantineMs, validityMs, type ClockBounds } from "./engine/validity.js";
import {
  InvalidKeyError,
  InvalidOptionError,
  SameBackendError,
  refuseUnknownOptions,
  show,
} from "./errors.js";

/** Anything with pino's methods. Each call gets an object with the fields and a text. */
export interface Logger {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** Options of `createLocker`. */
export interface LockerOptions {
  /** The independent backends that vote, at least one. Three or five is usual; an even number buys nothing. */
  readonly backends: readonly Backend[];
  /** How long a lock lives on the backends without extension, in milliseconds. Default 10,000. */
  readonly ttlMs?: number;
  /** How long `acquire` waits for the lock, in milliseconds; 0 tries once. Default 10,000. */
  readonly waitMs?: number;
  /** How many backends decide; at least a majority, which is the default. A larger one survives forgetful backends. */
  readonly quorum?: number;
  /** The longest TTL that any client of these backends asks for, in milliseconds; one figure for all. Default 60,000. */
  readonly maxTtlMs?: number;
  /** How much wall clocks of clients and backends may differ, in milliseconds. Default 1,000. */
  readonly clockSkewMs?: number;
  /** How much faster or slower than true time a clock may run, in parts per million. Default 5,000. */
  readonly driftPpm?: number;
  /** What to do about backends that may have lost their memory. Default "auto". */
  readonly restartGuard?: RestartGuard;
  /** For how long backends keep a key's counter after its last use, in milliseconds. Default seven days. */
  readonly tokenRetentionMs?: number;
  /** The shortest pause between two attempts, in milliseconds. Default 10. */
  readonly retryDelayMsMin?: number;
  /** The longest pause between two attempts, in milliseconds. Default 250. */
  readonly retryDelayMsMax?: number;
  /** A pino instance or anything with its methods. Without it nothing is logged. */
  readonly logger?: Logger;
  /** Clocks, timers and randomness; for simulations and tests. */
  readonly system?: System;
}

/** Options of one acquire. What is left out comes from the locker. */
export interface AcquireOptions {
  /** As in {@link LockerOptions}. */
  readonly ttlMs?: number;
  /** As in {@link LockerOptions}; not used by `tryAcquire`. */
  readonly waitMs?: number;
  /** Ends the wait, and the attempt in flight. It does not end the lease. */
  readonly signal?: AbortSignal;
  /** Extend the lease until it is released or lost. Default false; true in `withLock`. */
  readonly keepAlive?: boolean;
}

/** Options of one `adopt`. */
export interface AdoptOptions {
  /** The TTL to which the lease is extended, in milliseconds. Default that of the lease. */
  readonly ttlMs?: number;
  /** Extend the lease until it is released or lost. Default false. */
  readonly keepAlive?: boolean;
  /** Ends the adoption. It does not end the lease. */
  readonly signal?: AbortSignal;
}

/** Options of one `list`. */
export interface ListOptions {
  /** Only keys that begin with it. Default: all. */
  readonly prefix?: string;
  /** How many keys to report at most. Default 10,000. */
  readonly limit?: number;
}

/** {@link ListOptions}, checked and complete. */
export interface ResolvedList {
  readonly prefix: string;
  readonly limit: number;
}

/** {@link LockerOptions}, checked and complete. */
export interface ResolvedOptions {
  readonly backends: readonly Backend[];
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly deployment: Deployment;
  readonly clockBounds: ClockBounds;
  readonly retry: RetryBounds;
  readonly logger: Logger | undefined;
}

/** {@link AcquireOptions}, checked and complete. */
export interface ResolvedAcquire {
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly signal: AbortSignal | undefined;
  readonly keepAlive: boolean;
}

/** Every default, in milliseconds where the name says so. */
export const DEFAULTS: {
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly maxTtlMs: number;
  readonly clockSkewMs: number;
  readonly driftPpm: number;
  readonly restartGuard: RestartGuard;
  readonly tokenRetentionMs: number;
  readonly retryDelayMsMin: number;
  readonly retryDelayMsMax: number;
  readonly limit: number;
} = {
  ttlMs: 10_000,
  waitMs: 10_000,
  maxTtlMs: 60_000,
  clockSkewMs: 1_000,
  driftPpm: 5_000,
  restartGuard: "auto",
  tokenRetentionMs: 604_800_000,
  retryDelayMsMin: 10,
  retryDelayMsMax: 250,
  limit: 10_000,
};

/** Bounds of every figure. */
export const LIMITS: {
  readonly backendsMax: number;
  readonly ttlMsMin: number;
  readonly maxTtlMsMax: number;
  readonly waitMsMax: number;
  readonly clockSkewMsMax: number;
  readonly driftPpmMax: number;
  readonly tokenRetentionMsMax: number;
  readonly retryDelayMsMax: number;
  readonly keyBytesMax: number;
  readonly limitMax: number;
} = {
  // Which backends answered what is kept in the bits of a 32-bit number.
  backendsMax: 31,
  ttlMsMin: 50,
  maxTtlMsMax: 86_400_000,
  waitMsMax: 2_147_483_647,
  clockSkewMsMax: 3_600_000,
  driftPpmMax: 100_000,
  tokenRetentionMsMax: 31_536_000_000,
  retryDelayMsMax: 60_000,
  keyBytesMax: 512,
  limitMax: 1_000_000,
};

const LOCAL_GRAIN_MS = 1;

/** Checks the options of a locker. Throws `INVALID_OPTION` or `SAME_BACKEND`. */
export function resolveOptions(options: LockerOptions): ResolvedOptions {
  if (typeof options !== "object" || options === null) {
    throw new InvalidOptionError("options", "an object with `backends`", options);
  }
  refuseUnknownOptions(options, LOCKER_OPTIONS, "the options");
  const backends = resolveBackends(options.backends);
  const maxTtlMs = whole("maxTtlMs", options.maxTtlMs ?? DEFAULTS.maxTtlMs, {
    min: LIMITS.ttlMsMin,
    max: LIMITS.maxTtlMsMax,
  });
  const ttlMs = ttl("ttlMs", options.ttlMs ?? Math.min(DEFAULTS.ttlMs, maxTtlMs), maxTtlMs);
  const clockSkewMs = whole(
    "clockSkewMs",
    options.clockSkewMs ?? Math.min(DEFAULTS.clockSkewMs, maxTtlMs - 1),
    {
      min: 0,
      max: LIMITS.clockSkewMsMax,
    },
  );
  if (clockSkewMs >= maxTtlMs) {
    throw new InvalidOptionError("clockSkewMs", `below maxTtlMs (${maxTtlMs})`, clockSkewMs);
  }
  const driftPpm = whole("driftPpm", options.driftPpm ?? DEFAULTS.driftPpm, {
    min: 0,
    max: LIMITS.driftPpmMax,
  });
  const worst = (of: (backend: Backend) => number): number => Math.max(...backends.map(of));
  const clockBounds: ClockBounds = {
    driftPpm,
    earlyByMs: worst((backend) => backend.capabilities.earlyByMs),
    grainMs: LOCAL_GRAIN_MS,
  };
  if (validityMs(ttlMs, clockBounds) <= 0) {
    throw noValidity(ttlMs);
  }
  const lateByMs = worst((backend) => backend.capabilities.lateByMs);
  const quarantine = quarantineMs({ maxTtlMs, clockSkewMs, driftPpm, lateByMs });
  return {
    backends,
    ttlMs,
    waitMs: wait(options.waitMs ?? DEFAULTS.waitMs),
    deployment: {
      backends: backends.length,
      quorum: resolveQuorum(options.quorum, backends.length),
      maxTtlMs,
      clockSkewMs,
      quarantineMs: quarantine,
      tokenRetentionMs: whole(
        "tokenRetentionMs",
        options.tokenRetentionMs ?? Math.max(DEFAULTS.tokenRetentionMs, quarantine),
        { min: quarantine, max: LIMITS.tokenRetentionMsMax },
      ),
      restartGuard: oneOf("restartGuard", options.restartGuard ?? DEFAULTS.restartGuard, [
        "auto",
        "strict",
        "off",
      ]),
    },
    clockBounds,
    retry: resolveRetry(options),
    logger: resolveLogger(options.logger),
  };
}

const LOCKER_OPTIONS: ReadonlySet<string> = new Set<keyof LockerOptions>([
  "backends",
  "ttlMs",
  "waitMs",
  "quorum",
  "maxTtlMs",
  "clockSkewMs",
  "driftPpm",
  "restartGuard",
  "tokenRetentionMs",
  "retryDelayMsMin",
  "retryDelayMsMax",
  "logger",
  "system",
]);

const ACQUIRE_OPTIONS: ReadonlySet<string> = new Set<keyof AcquireOptions>([
  "ttlMs",
  "waitMs",
  "signal",
  "keepAlive",
]);

/** Checks the options of one acquire against those of its locker. Throws `INVALID_OPTION`. */
export function resolveAcquire(
  options: AcquireOptions,
  locker: ResolvedOptions,
  defaults: { readonly keepAlive: boolean },
): ResolvedAcquire {
  refuseUnknownOptions(options, ACQUIRE_OPTIONS, "the acquire options");
  const { ttlMs, waitMs, signal, keepAlive } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new InvalidOptionError("signal", "an AbortSignal", signal);
  }
  if (keepAlive !== undefined && typeof keepAlive !== "boolean") {
    throw new InvalidOptionError("keepAlive", "true or false", keepAlive);
  }
  if (
    ttlMs !== undefined &&
    validityMs(ttl("ttlMs", ttlMs, locker.deployment.maxTtlMs), locker.clockBounds) <= 0
  ) {
    throw noValidity(ttlMs);
  }
  return {
    ttlMs: ttlMs ?? locker.ttlMs,
    waitMs: waitMs === undefined ? locker.waitMs : wait(waitMs),
    signal,
    keepAlive: keepAlive ?? defaults.keepAlive,
  };
}

const ADOPT_OPTIONS: ReadonlySet<string> = new Set<keyof AdoptOptions>(["ttlMs", "keepAlive", "signal"]);

/** Checks the options of one adoption, of a lease that was acquired with `ttlMs`. Throws `INVALID_OPTION`. */
export function resolveAdopt(options: AdoptOptions, locker: ResolvedOptions, ttlMs: number): ResolvedAcquire {
  refuseUnknownOptions(options, ADOPT_OPTIONS, "the adopt options");
  return resolveAcquire({ ...options, ttlMs: options.ttlMs ?? ttlMs }, locker, { keepAlive: false });
}

const LIST_OPTIONS: ReadonlySet<string> = new Set<keyof ListOptions>(["prefix", "limit"]);

/** Checks the options of one list. Throws `INVALID_OPTION`. */
export function resolveList(options: ListOptions): ResolvedList {
  refuseUnknownOptions(options, LIST_OPTIONS, "the list options");
  const { prefix = "", limit = DEFAULTS.limit } = options;
  // What begins no key that may exist would list nothing, and look like a deployment without locks.
  if (typeof prefix !== "string" || (prefix !== "" && !isKey(prefix))) {
    throw new InvalidOptionError("prefix", "the beginning of a key, or left out", prefix);
  }
  return { prefix, limit: whole("limit", limit, { min: 1, max: LIMITS.limitMax }) };
}

/** Checks a token to which a counter is to be lifted. Throws `INVALID_OPTION`. */
export function checkToken(option: string, token: bigint): bigint {
  if (typeof token !== "bigint" || token < 1n || token > MAX_FENCE) {
    throw new InvalidOptionError(option, `a bigint from 1 to ${MAX_FENCE}`, token);
  }
  return token;
}

function noValidity(ttlMs: number): InvalidOptionError {
  return new InvalidOptionError("ttlMs", "long enough to leave some validity with these backends", ttlMs);
}

/** Checks a TTL in milliseconds. Throws `INVALID_OPTION`. */
export function ttl(option: string, value: number, maxTtlMs: number): number {
  return whole(
    option,
    value,
    { min: LIMITS.ttlMsMin, max: maxTtlMs },
    maxTtlMs === LIMITS.maxTtlMsMax ? "" : " (maxTtlMs)",
  );
}

const LONE_SURROGATE = /\p{Surrogate}/u;
const encoder = new TextEncoder();

/** Checks a key: a non-empty, well-formed string of at most 512 bytes. Throws `INVALID_KEY`. */
export function checkKey(key: string): string {
  if (typeof key !== "string") throw new InvalidKeyError("a string", key);
  if (key.length === 0) throw new InvalidKeyError("a string of at least one character", key);
  // A character is at most three bytes, so most keys need no encoding to be measured.
  const short = key.length * 3 <= LIMITS.keyBytesMax;
  if (!short && (key.length > LIMITS.keyBytesMax || encoder.encode(key).length > LIMITS.keyBytesMax)) {
    throw new InvalidKeyError(`at most ${LIMITS.keyBytesMax} bytes in UTF-8`, key);
  }
  // Stores would turn every lone surrogate into the same replacement character, and two keys into one.
  if (LONE_SURROGATE.test(key)) throw new InvalidKeyError("well-formed Unicode (no lone surrogate)", key);
  return key;
}

function isKey(text: string): boolean {
  try {
    checkKey(text);
    return true;
  } catch {
    return false;
  }
}

function resolveBackends(backends: readonly Backend[]): readonly Backend[] {
  if (!Array.isArray(backends) || backends.length === 0) {
    throw new InvalidOptionError("backends", "an array of at least one backend", backends);
  }
  if (backends.length > LIMITS.backendsMax) {
    throw new InvalidOptionError("backends", `at most ${LIMITS.backendsMax} backends`, backends.length);
  }
  const list: readonly Backend[] = [...backends];
  list.forEach((backend, i) => {
    if (typeof backend?.open !== "function" || typeof backend.name !== "string") {
      throw new InvalidOptionError(`backends[${i}]`, "a backend, such as redis(client) or memory()", backend);
    }
    if (list.length > 1 && backend.capabilities.grantsEverything === true) {
      const rule = `without ${backend.name}, or nothing else: it grants everything, and in a quorum it would vote for two holders`;
      throw new InvalidOptionError(`backends[${i}]`, rule, backend);
    }
    for (const other of list.slice(0, i)) {
      if (other === backend || other.client === backend.client) {
        throw new SameBackendError([other.name, backend.name], "made from the same client");
      }
      if (other.name === backend.name) {
        throw new SameBackendError([other.name, backend.name], "the same by name");
      }
    }
  });
  return list;
}

function resolveQuorum(quorum: number | undefined, n: number): number {
  if (quorum === undefined) return majority(n);
  if (!isQuorum(quorum, n)) {
    throw new InvalidOptionError(
      "quorum",
      `a majority of ${n} backends: a whole number from ${majority(n)} to ${n}`,
      quorum,
    );
  }
  return quorum;
}

function resolveRetry(options: LockerOptions): RetryBounds {
  const bounds = { min: 1, max: LIMITS.retryDelayMsMax };
  const delayMsMin = whole("retryDelayMsMin", options.retryDelayMsMin ?? DEFAULTS.retryDelayMsMin, bounds);
  const delayMsMax = whole(
    "retryDelayMsMax",
    options.retryDelayMsMax ?? Math.max(DEFAULTS.retryDelayMsMax, delayMsMin),
    bounds,
  );
  if (delayMsMax < delayMsMin) {
    throw new InvalidOptionError("retryDelayMsMax", `at least retryDelayMsMin (${delayMsMin})`, delayMsMax);
  }
  return { delayMsMin, delayMsMax };
}

function resolveLogger(logger: Logger | undefined): Logger | undefined {
  if (logger === undefined) return undefined;
  for (const method of ["debug", "info", "warn", "error"] as const) {
    if (typeof logger?.[method] !== "function") {
      throw new InvalidOptionError("logger", `a logger with a method \`${method}\``, logger);
    }
  }
  return logger;
}

function wait(value: number): number {
  return whole("waitMs", value, { min: 0, max: LIMITS.waitMsMax });
}

function whole(
  option: string,
  value: number,
  range: { readonly min: number; readonly max: number },
  whyMax = "",
): number {
  if (!Number.isInteger(value) || value < range.min || value > range.max) {
    throw new InvalidOptionError(option, `a whole number from ${range.min} to ${range.max}${whyMax}`, value);
  }
  return value;
}

function oneOf<T extends string>(option: string, value: T, allowed: readonly T[]): T {
  if (!allowed.includes(value)) {
    throw new InvalidOptionError(option, `one of ${allowed.map((each) => show(each)).join(", ")}`, value);
  }
  return value;
}
