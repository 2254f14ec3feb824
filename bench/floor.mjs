/**
 * Acquire and release here against a bare fan-out of SET NX PX and an owner-checked delete through ioredis clients with
 * the same settings: the floor below which no quorum lock over these servers can be. Interleaved, medians, one run.
 */
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";

const DELETE_OWN = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/** One cycle of the bare fan-out: waits for every backend, counts the majority, deletes everywhere. */
export async function bareFanOut(clients) {
  const shas = await Promise.all(clients.map((client) => client.script("LOAD", DELETE_OWN)));
  return async (key) => {
    const owner = randomBytes(16).toString("hex");
    const votes = await Promise.all(clients.map((client) => client.set(key, owner, "PX", 10_000, "NX")));
    if (votes.filter((vote) => vote === "OK").length <= clients.length / 2) throw new Error("not acquired");
    await Promise.all(clients.map((client, i) => client.evalsha(shas[i], 1, key, owner)));
  };
}

/** One cycle of ours. */
export function ours(locker) {
  return async (key) => {
    const lease = await locker.acquire(key);
    await lease.release();
  };
}

/** Runs `cycles` cycles with so many at a time; p50 in µs and CPU of this process in µs per cycle. */
export async function measure(cycle, { cycles, concurrency, prefix }) {
  const times = [];
  let next = 0;
  const before = process.cpuUsage();
  const start = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (next < cycles) {
        const key = `${prefix}:${next++}`;
        const at = performance.now();
        await cycle(key);
        times.push((performance.now() - at) * 1000);
      }
    }),
  );
  const wallMs = performance.now() - start;
  const cpu = process.cpuUsage(before);
  times.sort((a, b) => a - b);
  return {
    p50: times[times.length >> 1],
    p99: times[Math.floor(times.length * 0.99)],
    cpu: (cpu.user + cpu.system) / cycles,
    perSecond: (cycles / wallMs) * 1000,
  };
}
