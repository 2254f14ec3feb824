/** The check of a fencing token in Redis or Valkey, in the same script as the protected write. */
import { createHash } from "node:crypto";
import { InvalidOptionError, MarkBrokenError, StaleTokenError } from "../errors.js";
import { checkLease, type GuardedLease, type MarkStore } from "./lease.js";

export type { GuardedLease, MarkStore } from "./lease.js";

/** A value as a client sends it. */
export type RedisArgument = string | Buffer | number;

/** An ioredis client: `Redis` or `Cluster`. Structural, so that no client is imported. */
export interface RedisGuardClient {
  evalsha(sha: string, keys: number, ...args: RedisArgument[]): Promise<unknown>;
  eval(lua: string, keys: number, ...args: RedisArgument[]): Promise<unknown>;
}

/** What {@link guardedSet} writes. */
export interface GuardedWrite {
  readonly key: string;
  readonly value: RedisArgument;
  /** After how many milliseconds the value expires. Default: never, as with SET. */
  readonly expireMs?: number;
}

/** A script behind a guard; see {@link guardScript}. */
export interface GuardedScript {
  /** Runs the script if no newer holder has written. Resolves with what it returns. Throws as {@link guardedSet}. */
  run(client: RedisGuardClient, lease: GuardedLease, input?: ScriptInput): Promise<unknown>;
}

/** What the script finds in KEYS and ARGV. */
export interface ScriptInput {
  readonly keys?: readonly string[];
  readonly args?: readonly RedisArgument[];
}

/** Options of {@link guardScript}. */
export interface RedisGuardOptions {
  /** How long a mark is kept after the last guarded write of its key, in milliseconds. Default seven days. */
  readonly retentionMs?: number;
}

const RETENTION_MS = 604_800_000;
const RETENTION_MS_MAX = 31_536_000_000;

/**
 * SET, if no newer holder has written; check, mark and write are one atomic step of the server. Equal tokens pass: one
 * holder writes many times.
 *
 * The mark is a key of its own, one for each key of a lock. It lives for seven days after the last guarded write, and no
 * longer than the server's memory: a restart without persistence, a failover to a replica that lagged behind and an
 * eviction policy that takes keys can lose it, mostly together with the data. It costs one script of three commands in
 * one round trip; figures are in docs/fencing.md. It does not protect a write that goes around it.
 *
 * On a Cluster everything that one script touches must be in one hash slot: the mark lies in the slot of `{lease.key}`,
 * so call the data `{lease.key}:…`, or give the lock a key with a hash tag of your own.
 *
 * @example
 * ```ts
 * import type { Redis } from "ioredis";
 * import { guardedSet, type GuardedLease } from "quorum-lock/guard/redis";
 *
 * export async function setBalance(client: Redis, lease: GuardedLease, value: number): Promise<void> {
 *   await guardedSet(client, lease, { key: `{${lease.key}}:balance`, value });
 * }
 * ```
 *
 * @throws StaleTokenError (nothing was written), MarkBrokenError, InvalidKeyError, InvalidOptionError, and the server's
 * or the client's own errors, unchanged: after a lost connection the write may have happened, or happen later unless a
 * newer holder writes first.
 */
export async function guardedSet(
  client: RedisGuardClient,
  lease: GuardedLease,
  write: GuardedWrite,
): Promise<void> {
  const { key, value, expireMs } = write;
  if (expireMs !== undefined && !(Number.isSafeInteger(expireMs) && expireMs > 0)) {
    throw new InvalidOptionError(
      "guardedSet(…, { expireMs })",
      "a whole number of milliseconds above 0",
      expireMs,
    );
  }
  const args = expireMs === undefined ? [value] : [value, "PX", expireMs];
  await SET.run(client, lease, { keys: [key], args });
}

/**
 * Puts the check in front of a script of your own: it sees its KEYS and ARGV as ever, and runs only if no newer holder
 * has written. Make it once and run it often; it is sent by its hash. Marks, costs and limits are those of
 * {@link guardedSet}. A script that fails half-way leaves what it wrote before, as any Lua on the server, and a mark.
 *
 * @example
 * ```ts
 * import type { Redis } from "ioredis";
 * import { guardScript, type GuardedLease } from "quorum-lock/guard/redis";
 *
 * const add = guardScript("return redis.call('INCRBY', KEYS[1], ARGV[1])");
 *
 * export async function deposit(client: Redis, lease: GuardedLease, amount: number): Promise<unknown> {
 *   return add.run(client, lease, { keys: [`{${lease.key}}:balance`], args: [amount] });
 * }
 * ```
 *
 * @throws InvalidOptionError
 */
export function guardScript(lua: string, options: RedisGuardOptions = {}): GuardedScript {
  const { retentionMs = RETENTION_MS } = options;
  if (typeof lua !== "string") throw new InvalidOptionError("guardScript(lua)", "the text of a script", lua);
  if (!Number.isSafeInteger(retentionMs) || retentionMs < 1 || retentionMs > RETENTION_MS_MAX) {
    const rule = `a whole number of milliseconds from 1 to ${RETENTION_MS_MAX}`;
    throw new InvalidOptionError("guardScript(…, { retentionMs })", rule, retentionMs);
  }
  const text = guarded(lua);
  const sha = createHash("sha1").update(text).digest("hex");
  return {
    async run(client: RedisGuardClient, lease: GuardedLease, input: ScriptInput = {}): Promise<unknown> {
      checkLease(lease);
      const { keys = [], args = [] } = input;
      const all = [redisMarkKey(lease.key), ...keys, lease.token.toString(), retentionMs, ...args];
      try {
        return await client.evalsha(sha, keys.length + 1, ...all).catch((error: unknown) => {
          // Sure not to have been executed: the server was restarted, or its script cache flushed.
          if (!messageOf(error).startsWith("NOSCRIPT")) throw error;
          return client.eval(text, keys.length + 1, ...all);
        });
      } catch (error) {
        throw meaning(error, lease);
      }
    },
  };
}

/**
 * Where the mark of a lock's key is kept: in the slot of the key's own hash tag, or of the whole key where it has none.
 * For scripts and people who want to look; nobody else may write there.
 */
export function redisMarkKey(key: string): string {
  const tag = /^[^{]*\{([^}]+)\}/.exec(key)?.[1] ?? key;
  return `{${tag}}:quorum-lock-mark:${key}`;
}

/** Marks for `createHttpGuard`, the same that guard the writes. */
export function redisMarks(client: RedisGuardClient, options: RedisGuardOptions = {}): MarkStore {
  const note = guardScript("return 1", options);
  return {
    async advance(lease: GuardedLease): Promise<void> {
      await note.run(client, lease);
    },
  };
}

/**
 * Tokens are compared as decimal texts without leading zeros, the longer one being the larger: Lua's numbers are exact
 * only to 2^53. On one line, so that the lines in error messages are those of the guarded script; its KEYS and ARGV are
 * tables of its own.
 */
const CHECK =
  `local KEYS, ARGV = KEYS, ARGV do ` +
  `local mine, seen = ARGV[1], redis.call('GET', KEYS[1]) ` +
  `if seen and not string.find(seen, '^%d+$') then return redis.error_reply('QLBROKEN mark') end ` +
  `if seen and (#seen > #mine or #seen == #mine and seen > mine) then return redis.error_reply('QLSTALE ' .. seen) end ` +
  `redis.call('SET', KEYS[1], mine, 'PX', ARGV[2]) ` +
  `local keys, args = {}, {} ` +
  `for i = 2, #KEYS do keys[i - 1] = KEYS[i] end for i = 3, #ARGV do args[i - 2] = ARGV[i] end ` +
  `KEYS, ARGV = keys, args end `;

function guarded(lua: string): string {
  // A script that says what engine and flags it wants does so in its very first characters.
  const declared = /^#![^\n]*\n/.exec(lua)?.[0] ?? "";
  return `${declared}${CHECK}${lua.slice(declared.length)}`;
}

const SET: GuardedScript = guardScript(`return redis.call('SET', KEYS[1], unpack(ARGV))`);

function meaning(error: unknown, lease: GuardedLease): unknown {
  const message = messageOf(error);
  const highest = /^QLSTALE (\d+)/.exec(message)?.[1];
  if (highest !== undefined) {
    return new StaleTokenError(lease.key, { token: lease.token, highest: BigInt(highest) });
  }
  if (message.startsWith("QLBROKEN")) return new MarkBrokenError(lease.key, redisMarkKey(lease.key), error);
  if (message.startsWith("CROSSSLOT") || message.includes("don't hash to the same slot")) {
    return new InvalidOptionError("keys", `in the slot of the mark on a Cluster: {${lease.key}}:…`, message);
  }
  return error;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "";
}
