/**
 * Tables of a planet of regions in virtual time, for docs/scaling.md: the same text on every machine. `npm run sim:regions`
 * prints them; `--seed N` draws other jitter.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { compileSim } from "./compile-sim.mjs";

const CYCLES = 300;
const CYCLES_CUT = 20;
const WORK = { holdMs: 50, pauseMs: 100, forMs: 60_000 };

/** @param {URL} sim the folder of the compiled test/sim @param {number} [seed] @returns the tables as Markdown, by name */
export async function regionTables(sim, seed = 1) {
  const regions = await import(new URL("regions.js", sim).href);
  const { drive } = await import(new URL("drain.js", sim).href);
  const { PLACEMENTS, CLIENTS, USUAL_JITTER, nearestQuorumMs, roundTripMs } = regions;
  const sizes = Object.keys(PLACEMENTS).map(Number);
  const options = (n, more = {}) => ({
    servers: PLACEMENTS[n],
    clients: CLIENTS,
    seed,
    jitter: USUAL_JITTER,
    ...more,
  });

  const all = PLACEMENTS[7];
  const inputs = table(
    ["round trip, ms", ...all.slice(1)],
    all.slice(0, -1).map((a, i) => [a, ...all.slice(1).map((b, j) => (j < i ? "" : roundTripMs(a, b)))]),
  );

  const free = new Map();
  for (const n of sizes) free.set(n, await drive(regions.runUncontended(options(n), CYCLES)));
  const freeRows = CLIENTS.map((client, i) => [
    client,
    ...sizes.flatMap((n) => {
      const { acquireMs } = free.get(n)[i];
      return [
        ms(nearestQuorumMs(client, PLACEMENTS[n])),
        ms(quantile(acquireMs, 0.5)),
        ms(quantile(acquireMs, 0.99)),
      ];
    }),
  ]);
  const runs = [...free.values()].flat();
  const fast = sum(runs.map((run) => run.fast)) / sum(runs.map((run) => run.acquireMs.length));

  const cutRows = [];
  for (const n of sizes) {
    for (const cut of [[], all.slice(0, 1), all.slice(0, 2)]) {
      const seen = await drive(regions.runUncontended(options(n, { cut }), CYCLES_CUT));
      cutRows.push([
        n,
        cut.join(" and ") || "nobody",
        ...seen.map(({ acquireMs, tried }) => {
          const share = acquireMs.length / tried;
          if (share === 0) return "nothing";
          return `${ms(quantile(acquireMs, 0.5))}${share < 1 ? `, ${percent(share)} granted` : ""}`;
        }),
      ]);
    }
  }

  const rivals = [
    ["two processes in us-east-1", ["us-east-1", "us-east-1"]],
    ["us-east-1 and us-west-2", ["us-east-1", "us-west-2"]],
    ["us-east-1 and ap-southeast-1", ["us-east-1", "ap-southeast-1"]],
    ["all five", CLIENTS],
  ];
  const contendedRows = [];
  for (const n of sizes) {
    for (const [who, clients] of rivals) {
      const run = await drive(regions.runContended(options(n, { clients }), WORK));
      contendedRows.push([
        n,
        who,
        ((run.holds * 1000) / run.forMs).toFixed(2),
        percent(run.fast / run.holds),
        (run.attempts / run.holds).toFixed(1),
        ms(quantile(run.handOverMs, 0.5)),
        ms(quantile(run.handOverMs, 0.99)),
        `${percent(Math.min(...run.holdsOf) / run.holds)} to ${percent(Math.max(...run.holdsOf) / run.holds)}`,
      ]);
    }
  }

  return {
    inputs: `${inputs}

Within a region ${regions.LOCAL_ROUND_TRIP_MS} ms. A hop takes half of its round trip and up to ${percent(USUAL_JITTER.share)} more, and ${percent(USUAL_JITTER.resent)} of all messages come a round
trip later, as after a loss. Three servers stand in the first three regions, five in the first five; clients always in the first five.`,
    free: `${table(["client in", ...sizes.flatMap((n) => [`N = ${n}: model`, "p50", "p99"])], freeRows)}

Milliseconds from the call to the lease, ${CYCLES} keys each. ${percent(fast)} were won in one round trip.`,
    cut: `${table(["N", "cut off", ...CLIENTS.map((client) => `client in ${client}`)], cutRows)}

The median in milliseconds of what was granted; ${CYCLES_CUT} attempts each. A region that is cut off reaches its own server only.`,
    contended: `${table(
      [
        "N",
        "who competes",
        "holds/s",
        "one round trip",
        "attempts per hold",
        "hand-over p50",
        "p99",
        "least and most, of all holds",
      ],
      contendedRows,
    )}

Everybody holds the key for ${WORK.holdMs} ms and pauses up to ${WORK.pauseMs} ms, for ${WORK.forMs / 1000} simulated seconds. A hand-over, in milliseconds, begins when the key is given
back or asked for, whichever is later, and ends when the next one has it. "One round trip" is of the attempts that won.`,
  };
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function quantile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function ms(value) {
  return value.toFixed(value < 10 ? 1 : 0);
}

function percent(share) {
  return `${Number((share * 100).toFixed(1))} %`;
}

function sum(values) {
  return values.reduce((a, b) => a + b, 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { seed: { type: "string", default: "1" } } });
  const seed = Number(values.seed);
  if (!Number.isSafeInteger(seed) || seed < 1) {
    console.error(`--seed must be a whole number above 0; got ${values.seed}`);
    process.exit(64);
  }
  for (const text of Object.values(await regionTables(compileSim(), seed))) console.log(`${text}\n`);
}
