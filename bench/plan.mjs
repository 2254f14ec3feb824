/** How much is measured: what the page needs in some minutes, much more in an hour, or a look at whether the harness works. */

/**
 * @typedef {object} Plan
 * @property {readonly number[]} sizes
 * @property {readonly number[]} concurrencies
 * @property {number} rounds
 * @property {number} warmCycles
 * @property {(concurrency: number) => number} cyclesAt
 * @property {number} faultRounds
 * @property {number} faultCycles
 * @property {readonly { contenders: number, holdMs: number }[]} contentions
 * @property {readonly { contenders: number, holdMs: number }[]} outvoted
 * @property {number} contentionRounds
 * @property {number} outvotedRounds
 * @property {number} contentionSeconds
 * @property {number} contentionWarmCycles
 * @property {number} lossRounds
 * @property {readonly number[]} leaseCounts
 * @property {number} leaseSeconds
 * @property {number} microSeconds
 * @property {readonly number[]} storeConcurrencies
 * @property {number} storeRounds
 * @property {number} storeMs
 * @property {(line: string) => void} tell
 */

const tell = (line) => void process.stderr.write(`${line}\n`);

/** @type {Plan} */
const full = {
  sizes: [1, 3, 5],
  concurrencies: [1, 16, 128],
  rounds: 3,
  // The p99 of each 1 500 cycles of ours was 4, 2, 0.7 and 0.2 ms: a larger library takes longer to be compiled.
  warmCycles: 8_000,
  // Half a second of each, or so.
  cyclesAt: (concurrency) => Math.min(1_500 + 100 * concurrency, 12_800),
  faultRounds: 1,
  faultCycles: 150,
  contentions: [
    { contenders: 10, holdMs: 5 },
    { contenders: 30, holdMs: 5 },
  ],
  outvoted: [
    { contenders: 10, holdMs: 5 },
    { contenders: 30, holdMs: 5 },
  ],
  contentionRounds: 3,
  outvotedRounds: 1,
  contentionSeconds: 4,
  contentionWarmCycles: 1_500,
  lossRounds: 5,
  leaseCounts: [1_000, 10_000, 100_000],
  leaseSeconds: 15,
  microSeconds: 1,
  storeConcurrencies: [1, 128],
  storeRounds: 3,
  storeMs: 500,
  tell,
};

/** @type {Plan} */
const long = {
  ...full,
  sizes: [1, 3, 5, 7],
  concurrencies: [1, 16, 128, 1024],
  rounds: 7,
  cyclesAt: (concurrency) => Math.min(3_000 + 100 * concurrency, 25_600),
  faultRounds: 5,
  contentions: [
    { contenders: 2, holdMs: 0 },
    { contenders: 2, holdMs: 5 },
    { contenders: 10, holdMs: 0 },
    { contenders: 10, holdMs: 5 },
    { contenders: 30, holdMs: 5 },
    { contenders: 50, holdMs: 5 },
  ],
  outvoted: [
    { contenders: 2, holdMs: 5 },
    { contenders: 10, holdMs: 5 },
    { contenders: 30, holdMs: 5 },
    { contenders: 50, holdMs: 5 },
  ],
  contentionRounds: 3,
  outvotedRounds: 3,
  contentionSeconds: 6,
  leaseSeconds: 60,
  storeConcurrencies: [1, 16, 128],
  storeRounds: 7,
  storeMs: 1_000,
};

/** @type {Plan} */
const quick = {
  ...full,
  sizes: [3],
  concurrencies: [1, 128],
  rounds: 1,
  warmCycles: 100,
  cyclesAt: (concurrency) => (concurrency === 1 ? 200 : 1_000),
  faultRounds: 1,
  faultCycles: 20,
  contentions: [{ contenders: 5, holdMs: 5 }],
  outvoted: [{ contenders: 5, holdMs: 5 }],
  contentionRounds: 1,
  contentionSeconds: 2,
  contentionWarmCycles: 50,
  lossRounds: 2,
  leaseCounts: [1_000],
  leaseSeconds: 12,
  microSeconds: 0.2,
  storeRounds: 1,
  storeMs: 100,
};

/** @param {{ quick?: boolean | undefined, long?: boolean | undefined }} wanted */
export function planOf(wanted) {
  if (wanted.quick === true) return quick;
  return wanted.long === true ? long : full;
}
