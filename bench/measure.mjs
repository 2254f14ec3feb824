/** Measuring: cycles of acquire and release, medians, and how rounds of several subjects take turns. */
import { performance } from "node:perf_hooks";

/**
 * Runs `cycles` cycles, or begins none after `ms`, with so many at a time, each on a key of its own. Times in µs; `cpu` is that of this
 * process per cycle.
 * @param {{ acquire: (key: string) => Promise<() => Promise<unknown>> }} subject
 * @param {{ cycles?: number, ms?: number, concurrency: number, prefix: string }} plan
 */
export async function measure(subject, { cycles = Infinity, ms = Infinity, concurrency, prefix }) {
  const times = [];
  let next = 0;
  const before = process.cpuUsage();
  const start = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (next < cycles && performance.now() - start < ms) {
        const key = `${prefix}:${next++}`;
        const at = performance.now();
        const release = await subject.acquire(key);
        await release();
        times.push((performance.now() - at) * 1000);
      }
    }),
  );
  const wallMs = performance.now() - start;
  const cpu = process.cpuUsage(before);
  times.sort((a, b) => a - b);
  return {
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    cpu: (cpu.user + cpu.system) / next,
    perSecond: (next / wallMs) * 1000,
    times,
  };
}

/** @param {readonly number[]} sorted @param {number} share */
export function quantile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** @param {readonly number[]} values */
export function median(values) {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

/**
 * So many rounds in which every subject has its turn, each time in another order, so that none always runs on what another left
 * warm. The first round is not counted.
 * @template T @param {readonly string[]} names @param {number} rounds @param {(name: string, round: number) => Promise<T>} turn
 * @returns {Promise<Record<string, T[]>>}
 */
export async function inTurns(names, rounds, turn) {
  const runs = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length];
      const run = await turn(name, round);
      if (round > 0) runs[name].push(run);
    }
  }
  return runs;
}

/** The median over the rounds of how one compares with another in the same round. */
export function ratio(runs, other, field) {
  return median(runs.map((run, i) => run[field] / other[i][field]));
}
