/**
 * Eight holders of one lock that are paused at random, past the end of their lease, and go on writing with their old
 * token when they wake. What the resource itself recorded is judged: by the order in which it took the writes.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { StaleTokenError } from "../../src/errors.js";
import type { GuardedLease } from "../../src/guard/lease.js";
import { seededRandom } from "../../src/testing/random.js";

/** Where in a write a holder is paused. */
export type Place = "before-guard" | "before-write" | "before-commit";

/** One write of a guarded resource: calls `pauseAt` at each place it has, throws StaleTokenError when refused. */
export type Write = (lease: GuardedLease, pauseAt: (place: Place) => Promise<void>) => Promise<void>;

export interface Resource {
  /** A connection of its own for each holder. */
  readonly writers: readonly Write[];
  /** The tokens of all writes that the resource took, in its order. */
  history(): Promise<readonly bigint[]>;
}

export interface Plan {
  readonly key: string;
  readonly writesEach: number;
  readonly pausesEach: number;
  readonly seed: number;
}

export interface Verdict {
  readonly accepted: number;
  readonly refused: number;
  readonly handOvers: number;
  /** Empty: no write of a stale holder was taken, none of a current one refused. */
  readonly violations: readonly string[];
}

const HOLDERS = 8;
const PAUSE_MS_MAX = 5;
const FIRST_TOKEN = 2n ** 53n;

/** QUORUM_LOCK_GUARD_WRITES=10000 makes the full run of the issue. */
export function planOf(key: string, writesEach: number): Plan {
  const full = Number(process.env["QUORUM_LOCK_GUARD_WRITES"] ?? 0);
  const seed = Number(process.env["QUORUM_LOCK_SEED"] ?? Date.now() % 1_000_000);
  return { key, writesEach: full > 0 ? full : writesEach, pausesEach: 50, seed };
}

export async function runHolders(resource: Resource, plan: Plan): Promise<Verdict> {
  const lock = createHandOver(plan.key);
  const violations: string[] = [];
  const tally = { accepted: 0, refused: 0 };
  const hold = async (write: Write, holder: number): Promise<void> => {
    const random = seededRandom(plan.seed * HOLDERS + holder);
    const pauses = new Map<number, Place>();
    while (pauses.size < Math.min(plan.pausesEach, plan.writesEach)) {
      pauses.set(
        Math.floor(random() * plan.writesEach),
        PLACES[Math.floor(random() * PLACES.length)] ?? "before-guard",
      );
    }
    let lease: GuardedLease | undefined;
    for (let i = 0; i < plan.writesEach; i++) {
      lease ??= await lock.acquire();
      const { token } = lease;
      const pauseAt = async (place: Place): Promise<void> => {
        if (pauses.get(i) !== place) return;
        pauses.delete(i);
        lock.expire(token);
        await sleep(random() * PAUSE_MS_MAX);
      };
      try {
        await write(lease, pauseAt);
        tally.accepted++;
        // Now and then a holder releases and comes again, so that hand-overs without a pause happen too.
        if (random() < 0.02) {
          lock.expire(token);
          lease = undefined;
        }
      } catch (error) {
        if (!(error instanceof StaleTokenError)) throw error;
        tally.refused++;
        const issued = error.highest > token && error.highest <= lock.issued();
        if (!issued || error.token !== token || error.key !== plan.key) {
          violations.push(`a current holder was refused: ${error.message}`);
        }
        // Nothing happens if it is stale; a guard that refuses a current one must not stop the test.
        lock.expire(token);
        lease = undefined;
      }
    }
    if (lease !== undefined) lock.expire(lease.token);
  };
  await Promise.all(resource.writers.map(hold));
  const history = await resource.history();
  for (const [i, token] of history.entries()) {
    const before = history[i - 1];
    if (before !== undefined && token < before)
      violations.push(`write ${i}: token ${token} was taken after ${before}`);
  }
  if (history.length !== tally.accepted) {
    violations.push(`${tally.accepted} writes were reported as taken, the resource has ${history.length}`);
  }
  return { ...tally, handOvers: Number(lock.issued() - FIRST_TOKEN), violations };
}

const PLACES: readonly Place[] = ["before-guard", "before-write", "before-commit"];

interface HandOver {
  acquire(): Promise<GuardedLease>;
  /** The lease is over; its holder may not know. */
  expire(token: bigint): void;
  issued(): bigint;
}

/** The lock reduced to what matters here: one holder at a time, tokens that increase beyond what a double can count. */
function createHandOver(key: string): HandOver {
  let token = FIRST_TOKEN;
  let current: bigint | undefined;
  const waiting: ((lease: GuardedLease) => void)[] = [];
  const next = (): void => {
    if (current !== undefined) return;
    const first = waiting.shift();
    if (first === undefined) return;
    token += 1n;
    current = token;
    first({ key, token });
  };
  return {
    acquire: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        next();
      }),
    expire(ended) {
      if (current !== ended) return;
      current = undefined;
      next();
    },
    issued: () => token,
  };
}

export const HOLDER_COUNT = HOLDERS;

/** Keys that break what is careless with texts; no two of them are one key. */
export const ODD_KEYS: readonly string[] = [
  "k",
  "k ",
  " k",
  "K",
  "ä",
  "a\u0308",
  "a",
  "A",
  "it's",
  'a "b" `c`',
  "'); DROP TABLE quorum_lock_marks; --",
  "back\\slash\\",
  "nul\u0000nul",
  "line\nbreak\r\t",
  "ключ 鍵 🔒",
  "%s $1 ? :x @y {z} }{",
  "{tag}rest",
  "{}",
  "100%",
  "%41",
  "x".repeat(512),
  `${"x".repeat(511)}y`,
  "🔒".repeat(128),
];
