/** The page and the plots of a run. Every figure in them comes from it. */
import { cpus } from "node:os";
import { quantile } from "./measure.mjs";
import { linePlot } from "./plots.mjs";
import { SUBJECTS, versionOf } from "./subjects.mjs";

/** @param {object} results what the cases returned @param {{ serverVersion: string, rounds: number, load: number }} run */
export function page(results, run) {
  return `# Benchmarks

Written by \`npm run bench\`, not by hand. Node ${process.versions.node}, redis-server ${run.serverVersion}, ${cpus().length} × ${cpus()[0]?.model.trim()}; servers and
clients share the machine, whose load was ${run.load.toFixed(1)} when the run began. The libraries take turns, ${run.rounds} rounds; medians, and ratios taken round by
round. Use them as ratios: the absolute figures are those of a small machine.

${SUBJECTS.filter((name) => versionOf(name) !== undefined)
  .map((name) => `${name} ${versionOf(name)}`)
  .join(", ")}. The bare fan-out is \`SET NX PX\` on all servers, a majority counted, and
an owner-checked delete on all: no token, no validity, no quarantine. Peers have clients with a bound on every command where a case needs one, retry as often as we do (redlock and its fork as their READMEs say, which suits them better), and refresh nothing.
Only quorum-lock mints a fencing token.

## Free keys

Acquire and release, so many at once, each library in a process of its own. Times in µs, CPU of the client process in µs per cycle.

${results.uncontended === undefined ? "" : uncontendedTable(results.uncontended)}

![Throughput over concurrency, three servers](benchmarks/throughput.svg)
![Latency over the number of servers, one at a time](benchmarks/size.svg)
![Distribution of latencies, three servers, one at a time](benchmarks/latency.svg)

## One of three servers in trouble

One at a time; the ratio is to the same library with all three healthy in the same round. Peers have a \`commandTimeout\` of 500 ms here, without which some never settle.

${table(
  ["third server", "library", "p50 µs", "p99 µs", "against healthy", "failed"],
  (results.faults ?? []).map((row) => [
    row.fault,
    row.name,
    row.p50.toFixed(0),
    row.p99.toFixed(0),
    row.ratio.toFixed(2),
    `${(row.failed * 100).toFixed(0)} %`,
  ]),
)}

## Many processes, one key

Each thinks for up to 50 ms, takes the key, holds it, gives it back. A hand-over begins when the key is given back or asked for, whichever is later, and ends when the next one has it.
With holds of 5 ms no lock can give more than 200 a second, and Node's timers make them a little longer: "between holds" is the mean of the rest, which is the lock's
and the machine's. What begins after the time of the run counts for neither. Commands are those that one server executes per hold, the ones within scripts included. All three servers vote; with one of
them away quorum-lock is measured below. All pause 10 ms between attempts, but
redlock and its fork: those pause 200 ms with as much jitter, as their READMEs have it; shorter ones mostly gave them fewer holds. Between the attempts
of one wait they keep the votes that they got, so that two of them may block each other until the TTL of 10 s ends.

${table(
  [
    "processes",
    "hold ms",
    "library",
    "holds/s",
    "between holds, ms",
    "wait p50 ms",
    "p99",
    "longest / median",
    "hand-over p50 ms",
    "p99",
    "commands",
    "CPU ms/hold",
    "starved",
  ],
  (results.contention ?? []).map((row) => [
    row.contenders,
    row.holdMs,
    row.name,
    row.holdsPerSecond.toFixed(0),
    row.betweenHoldsMs.toFixed(1),
    row.waitP50.toFixed(1),
    row.waitP99.toFixed(1),
    row.unfairness.toFixed(1),
    row.handOverP50.toFixed(1),
    row.handOverP99.toFixed(1),
    row.commands.toFixed(1),
    row.cpuMs.toFixed(2),
    row.starved,
  ]),
)}

![Hand-overs over contenders](benchmarks/contention.svg)

${outvotedSection(results.outvoted ?? [])}
## Held leases

One process keeps leases of 30 s alive on three servers; each is extended with about two thirds of it left. Cores are processor
time of this process, listeners of its events included. At risk: an extension failed, and was repeated. Missed: less than
half of the TTL was left at the end.

${table(
  [
    "leases",
    "cores",
    "µs per extension",
    "extensions/s",
    "lost",
    "at risk",
    "missed",
    "least left, s",
    "bytes of heap per lease",
    "bytes per lease and server",
  ],
  (results.heldLeases ?? []).map((row) => [
    row.count,
    row.cores.toFixed(3),
    row.micros.toFixed(0),
    row.perSecond.toFixed(0),
    row.lost,
    row.atRisk,
    row.missed,
    (row.shortestMs / 1000).toFixed(1),
    row.bytes.toFixed(0),
    row.serverBytes.toFixed(0),
  ]),
)}

## Loss and recovery

${lossText(results)}

## The engine alone

${table(
  ["", "µs", "margin of error"],
  (results.micro ?? []).map(({ name, micros, margin }) => [
    name,
    micros.toFixed(2),
    `±${margin.toFixed(1)} %`,
  ]),
)}
${results.stores === undefined ? "" : storesText(results.stores)}
${results.go === undefined ? "" : goText(results.go)}
`;
}

function outvotedSection(rows) {
  if (rows.length === 0) return "";
  return `### While one of three does not vote

The same, quorum-lock alone, with one of the three servers dead, stopped or in quarantine all the time, so that both others must agree on every hold
([waiting in line](protocol.md#waiting-in-line)). Commands are those of all servers over three.

${table(
  [
    "processes",
    "hold ms",
    "servers",
    "holds/s",
    "wait p50 ms",
    "longest / median",
    "hand-over p50 ms",
    "p99",
    "commands",
  ],
  rows.map((row) => [
    row.contenders,
    row.holdMs,
    row.how,
    row.holdsPerSecond.toFixed(0),
    row.waitP50.toFixed(1),
    row.unfairness.toFixed(1),
    row.handOverP50.toFixed(1),
    row.handOverP99.toFixed(1),
    row.commands.toFixed(1),
  ]),
)}
`;
}

function storesText({ rows, missing }) {
  const kinds = [...new Map(rows.map((row) => [row.store, row])).values()];
  return `
## Other stores

One server each (SQLite: one file), as durable as it can be, beside the same store without a lock library: the key is set if it is absent and removed again by the store's own client, with no TTL, token or mark:
${kinds.map(({ store, version, raw }) => `${[store, version].filter(Boolean).join(" ")}: ${raw}`).join("; ")}. The raw statements have the same connections (pools of 10).

${table(
  [
    "store",
    "at once",
    "raw p50 µs",
    "p50 µs",
    "against raw",
    "raw cycles/s",
    "cycles/s",
    "against raw",
    "CPU against raw",
  ],
  rows.map((row) => [
    row.store,
    row.concurrency,
    row.rawP50.toFixed(0),
    row.p50.toFixed(0),
    row.p50Ratio.toFixed(2),
    row.rawPerSecond.toFixed(0),
    row.perSecond.toFixed(0),
    row.throughputRatio.toFixed(2),
    row.cpuRatio.toFixed(2),
  ]),
)}

${missing.join("\n")}
`;
}

/** File name to content. */
export function plots({ uncontended = [], contention = [] }) {
  const of = (name, keep, point) => ({
    name,
    points: uncontended.filter((row) => row.name === name && keep(row)).map(point),
  });
  const all = {
    "throughput.svg": linePlot({
      title: "Free keys, three servers",
      xLabel: "at once",
      yLabel: "cycles per second",
      series: SUBJECTS.map((name) =>
        of(
          name,
          ({ n }) => n === 3,
          (row) => [row.concurrency, row.perSecond],
        ),
      ),
    }),
    "size.svg": linePlot({
      title: "Free keys, one at a time",
      xLabel: "servers",
      yLabel: "p50 in µs",
      series: SUBJECTS.map((name) =>
        of(
          name,
          ({ concurrency }) => concurrency === 1,
          (row) => [row.n, row.p50],
        ),
      ),
    }),
    "latency.svg": linePlot({
      title: "Free keys, three servers, one at a time: so many take longer",
      xLabel: "µs",
      yLabel: "share in %",
      series: SUBJECTS.map((name) => {
        const row = uncontended.find((each) => each.name === name && each.n === 3 && each.concurrency === 1);
        const times = [...(row?.times ?? [])].sort((a, b) => a - b);
        return { name, points: TAILS.map((share) => [quantile(times, 1 - share), share * 100]) };
      }),
    }),
    "contention.svg": linePlot({
      title: "Processes on one key, three servers, holds of 5 ms",
      xLabel: "processes",
      yLabel: "holds per second",
      series: SUBJECTS.slice(1).map((name) => ({
        name,
        points: contention
          .filter((row) => row.name === name && row.holdMs === 5)
          .map((row) => [row.contenders, row.holdsPerSecond]),
      })),
    }),
  };
  return Object.fromEntries(Object.entries(all).filter(([, svg]) => svg !== ""));
}

const TAILS = [1, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001];

function uncontendedTable(rows) {
  return table(
    [
      "N",
      "at once",
      "library",
      "p50",
      "against bare",
      "p99",
      "cycles/s",
      "against bare",
      "CPU",
      "against bare",
    ],
    rows.map((row) => [
      row.n,
      row.concurrency,
      row.name,
      row.p50.toFixed(0),
      row.p50Ratio.toFixed(2),
      row.p99.toFixed(0),
      row.perSecond.toFixed(0),
      row.throughputRatio.toFixed(2),
      row.cpu.toFixed(0),
      row.cpuRatio.toFixed(2),
    ]),
  );
}

function lossText({ lossSignal, recovery }) {
  const lines = [];
  if (lossSignal !== undefined) {
    const { median, least, most, rounds } = lossSignal;
    lines.push(
      `- All three servers hung: the signal of a kept lease came ${median.toFixed(0)} ms before the end of its validity (from ${least.toFixed(0)} to ${most.toFixed(0)} ms, ${rounds} rounds).`,
    );
  }
  if (recovery !== undefined) {
    lines.push(
      `- A killed server that runs again was in use after ${recovery.median.toFixed(0)} ms (at most ${recovery.most.toFixed(0)} ms, ${recovery.rounds} rounds).`,
    );
  }
  return lines.join("\n");
}

function goText({ rows, versions }) {
  return `
## Outside Node

${versions}, the same servers, keys of their own, in a process of its own after the others. rueidislock knows no independent servers: it takes a majority of N keys on one.

${table(
  ["N", "at once", "library", "N is of", "p50 µs", "p99", "cycles/s"],
  rows.map((row) => [
    row.n,
    row.concurrency,
    row.name,
    row.on,
    row.p50.toFixed(0),
    row.p99.toFixed(0),
    row.perSecond.toFixed(0),
  ]),
)}
`;
}

function table(head, rows) {
  if (rows.length === 0) return "Not part of this run.";
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
