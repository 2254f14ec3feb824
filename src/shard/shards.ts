/**
 * Which of several quorums a key belongs to: rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to
 * increase hit rates", 1998). Every shard has a score for the key, and the highest has it. When a shard comes or goes,
 * only its own keys move; there is no ring and no table that processes would have to share.
 *
 * The score is murmur3(key, seed), where seed = murmur3(name of the shard, i), both in UTF-8. A shard of weight w takes
 * part w times, i = 0 … w − 1. Whole numbers only, so that every machine and language gets the same: a logarithm, as in
 * other weighted variants, may differ in its last bit from one to the next, and with it the shard of a key.
 */
import { InvalidOptionError } from "../errors.js";
import { checkKey } from "../options.js";
import { hashMixed, mixText } from "./murmur.js";

/** One quorum among several. May have further members, such as the locker of that quorum. */
export interface Shard {
  /** Decides with the key, so it stays for good: to rename a shard is to replace it. Well-formed, at most 512 bytes. */
  readonly name: string;
  /**
   * Its share of the keys, against the weights of the others: a whole number. Default 1. All weights together are at most
   * 1,000, since the time for a key grows with their sum.
   */
  readonly weight?: number;
}

/** Several quorums, each with keys of its own. */
export interface Shards<S extends Shard> {
  /** By name. */
  readonly all: readonly S[];
  /**
   * Eight hexadecimal digits, the same in two processes that place all keys alike, whatever the order of their lists.
   * **Two processes with different lists lock the same key on two quorums**, which no server notices: log it, show it in
   * your health check, and compare it wherever the list is changed.
   */
  readonly fingerprint: string;
  /** The shard that has the key; one of {@link Shards.all}. @throws InvalidKeyError */
  shardFor(key: string): S;
}

const WEIGHTS_MAX = 1_000;

/**
 * Places keys on shards. The same names and weights give the same shard for a key in every process, version and language;
 * the order of the list does not matter. To add a shard to n takes about 1 of n + 1 keys away from the others, to remove one
 * moves its keys only. **No list may be changed while another one is in use**, except as `docs/scaling.md` says:
 * by a stop, or through {@link withBothLocks}.
 *
 * @example
 * ```ts
 * import { createLocker, createShards } from "quorum-lock";
 * import { memory } from "quorum-lock/memory";
 *
 * const open = () => createLocker({ backends: [memory(), memory(), memory()] });
 * const shards = createShards([
 *   { name: "locks-1", locker: open() },
 *   { name: "locks-2", locker: open() },
 *   { name: "locks-3", locker: open(), weight: 2 },
 * ]);
 *
 * const { name, locker } = shards.shardFor("invoice:42");
 * await locker.withLock("invoice:42", (lease) => console.log(name, lease.token));
 * await Promise.all(shards.all.map(({ locker }) => locker.close()));
 * ```
 *
 * @throws InvalidOptionError
 */
export function createShards<S extends Shard>(shards: readonly S[]): Shards<S> {
  if (!Array.isArray(shards) || shards.length === 0) {
    throw new InvalidOptionError("shards", "an array of at least one shard", shards);
  }
  const all: readonly S[] = [...shards];
  const seeds: number[] = [];
  const owners: S[] = [];
  const taken = new Map<number, string>();
  let fingerprint = 0;
  all.forEach((shard, i) => {
    const name = checkName(shard, i);
    const weight = checkWeight(shard, i);
    if (seeds.length + weight > WEIGHTS_MAX) {
      throw new InvalidOptionError(
        "shards",
        `of at most ${WEIGHTS_MAX} weights in all`,
        seeds.length + weight,
      );
    }
    const mixed = mixText(name);
    for (let part = 0; part < weight; part++) {
      const seed = hashMixed(mixed, part);
      const other = taken.get(seed);
      if (other !== undefined) throw takenName(i, name, other);
      taken.set(seed, name);
      seeds.push(seed);
      owners.push(shard);
    }
    // In any order the same: names differ, so no two of these are made alike.
    fingerprint ^= hashMixed(mixed, WEIGHTS_MAX + weight);
  });
  const byName = (a: S, b: S): number => (a.name < b.name ? -1 : 1);
  return {
    all: [...all].sort(byName),
    fingerprint: (fingerprint >>> 0).toString(16).padStart(8, "0"),
    shardFor(key: string): S {
      const mixed = mixText(checkKey(key));
      let best = 0;
      let highest = -1;
      for (let i = 0; i < seeds.length; i++) {
        // Never equal to another one: no two seeds are.
        const score = hashMixed(mixed, seeds[i] ?? 0);
        if (score > highest) {
          highest = score;
          best = i;
        }
      }
      return owners[best] as S;
    },
  };
}

function checkName(shard: Shard, i: number): string {
  if (typeof shard !== "object" || shard === null) {
    throw new InvalidOptionError(`shards[${i}]`, "an object with a name", shard);
  }
  try {
    return checkKey(shard.name);
  } catch {
    const rule = "a non-empty, well-formed string of at most 512 bytes";
    throw new InvalidOptionError(`shards[${i}].name`, rule, shard.name);
  }
}

function checkWeight(shard: Shard, i: number): number {
  const { weight = 1 } = shard;
  if (!Number.isInteger(weight) || weight < 1 || weight > WEIGHTS_MAX) {
    throw new InvalidOptionError(`shards[${i}].weight`, `a whole number from 1 to ${WEIGHTS_MAX}`, weight);
  }
  return weight;
}

function takenName(i: number, name: string, other: string): InvalidOptionError {
  const rule =
    name === other
      ? "another one than those before"
      : `another one: its hash is that of ${JSON.stringify(other)}, and one of the two would get no keys`;
  return new InvalidOptionError(`shards[${i}].name`, rule, name);
}
