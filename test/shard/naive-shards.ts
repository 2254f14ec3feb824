/** The same placement as `src/shard`, as a reader of its first comment would write it: with big integers and no care for time. */

const MASK = 0xffffffffn;

const rotl = (x: bigint, by: bigint): bigint => ((x << by) | (x >> (32n - by))) & MASK;

/** MurmurHash3_x86_32, after the description of its author. */
export function naiveMurmur(text: string, seed: number): number {
  const bytes = [...Buffer.from(text, "utf8")].map(BigInt);
  let h = BigInt(seed);
  for (let i = 0; i < bytes.length; i += 4) {
    const block = bytes.slice(i, i + 4);
    let k = block.reduceRight((sum, byte) => (sum << 8n) | byte, 0n);
    k = (k * 0xcc9e2d51n) & MASK;
    k = (rotl(k, 15n) * 0x1b873593n) & MASK;
    h ^= k;
    if (block.length === 4) h = (rotl(h, 13n) * 5n + 0xe6546b64n) & MASK;
  }
  h ^= BigInt(bytes.length);
  h = ((h ^ (h >> 16n)) * 0x85ebca6bn) & MASK;
  h = ((h ^ (h >> 13n)) * 0xc2b2ae35n) & MASK;
  return Number(h ^ (h >> 16n));
}

/** The name of the shard that has the key. */
export function naiveShard(
  key: string,
  shards: readonly { readonly name: string; readonly weight?: number | undefined }[],
): string {
  const scores = shards.flatMap(({ name, weight = 1 }) =>
    Array.from({ length: weight }, (_, i) => ({ name, score: naiveMurmur(key, naiveMurmur(name, i)) })),
  );
  return scores.reduce((best, each) => (each.score > best.score ? each : best)).name;
}
