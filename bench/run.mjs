/**
 * `npm run bench`: acquire and release here against the bare fan-out, over servers of its own, and with one server of
 * three frozen. Everything interleaved in one run; medians of the ratios. Writes docs/benchmarks.md.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { format } from "prettier";
import { createLocker } from "../dist/index.js";
import { recommendedRedisOptions, redis } from "../dist/adapters/redis.js";
import { bareFanOut, measure, ours } from "./floor.mjs";
import { micro } from "./micro.mjs";
import { startServers } from "./servers.mjs";

const quick = process.argv.includes("--quick");
const ROUNDS = quick ? 5 : 9;
const CYCLES = quick ? { 1: 400, 16: 1600, 128: 2500 } : { 1: 1500, 16: 5000, 128: 8000 };

const servers = await startServers(5);
const rows = [];
let frozen;
try {
  for (const n of [3, 5]) {
    for (const concurrency of [1, 16, 128]) rows.push(await against(n, concurrency));
  }
  frozen = await oneFrozen();
} finally {
  await servers.stop();
}
const engine = await micro({ seconds: quick ? 0.2 : 2 });
const page = await format(report(), { parser: "markdown", printWidth: 110 });
console.log(page);
if (!quick) writeFileSync(fileURLToPath(new URL("../docs/benchmarks.md", import.meta.url)), page);

async function against(n, concurrency) {
  const ports = servers.list.slice(0, n).map(({ port }) => port);
  const theirs = clients(ports);
  const mine = clients(ports);
  const locker = createLocker({ backends: mine.map((client) => redis(client, { prefix: `bench${n}` })) });
  await Promise.all(theirs.map(answered));
  const subjects = { bare: await bareFanOut(theirs), ours: ours(locker) };
  await subjects.ours("warm-up");
  const runs = { bare: [], ours: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    // Whoever goes first meets the servers warm from the other: take turns.
    const order = round % 2 === 0 ? ["bare", "ours"] : ["ours", "bare"];
    for (const name of order) {
      const server = await serverCpu(mine);
      const run = await measure(subjects[name], {
        cycles: CYCLES[concurrency],
        concurrency,
        prefix: `${name}:${n}:${concurrency}:${round}`,
      });
      run.serverCpu = ((await serverCpu(mine)) - server) / CYCLES[concurrency];
      if (round > 0) runs[name].push(run);
    }
  }
  await locker.close();
  for (const client of [...theirs, ...mine]) client.disconnect();
  process.stderr.write(`N = ${n}, concurrency ${concurrency}: done\n`);
  return { n, concurrency, ...runs };
}

/** The median with one of three frozen, against the same locker with all three. */
async function oneFrozen() {
  const mine = clients(servers.list.slice(0, 3).map(({ port }) => port));
  const locker = createLocker({ backends: mine.map((client) => redis(client, { prefix: "frozen" })) });
  const cycle = ours(locker);
  await cycle("warm-up");
  const [victim] = servers.list;
  const ratios = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const plan = { cycles: CYCLES[1], concurrency: 1 };
    const healthy = await measure(cycle, { ...plan, prefix: `h${round}` });
    victim.freeze();
    const hung = await measure(cycle, { ...plan, prefix: `f${round}` });
    victim.thaw();
    await answered(mine[0]);
    if (round > 0) ratios.push(hung.p50 / healthy.p50);
  }
  await locker.close();
  for (const client of mine) client.disconnect();
  return ratios;
}

function clients(ports) {
  return ports.map((port) =>
    new Redis({ host: "127.0.0.1", port, ...recommendedRedisOptions() }).on("error", () => {}),
  );
}

async function answered(client) {
  for (let tries = 0; tries < 500; tries++) {
    const ok = await client.ping().catch(() => undefined);
    if (ok !== undefined) return;
    await sleep(10);
  }
  throw new Error("a thawed server does not answer");
}

async function serverCpu(over) {
  const used = await Promise.all(
    over.map(async (client) => {
      const info = await client.info("cpu");
      return Number(/used_cpu_user:([\d.]+)/.exec(info)[1]) + Number(/used_cpu_sys:([\d.]+)/.exec(info)[1]);
    }),
  );
  return used.reduce((a, b) => a + b, 0) * 1e6;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function report() {
  const of = (row, name, field) => median(row[name].map((run) => run[field]));
  const ratio = (row, field) => median(row.ours.map((run, i) => run[field] / row.bare[i][field])).toFixed(2);
  const both = (row, field) => `${of(row, "bare", field).toFixed(0)} / ${of(row, "ours", field).toFixed(0)}`;
  const lines = rows.map(
    (row) =>
      `| ${row.n} | ${row.concurrency} | ${both(row, "p50")} | ${ratio(row, "p50")} | ${both(row, "cpu")} | ` +
      `${ratio(row, "cpu")} | ${both(row, "serverCpu")} | ${ratio(row, "serverCpu")} |`,
  );
  const spread = frozen.map((each) => (each - 1) * 100);
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return `# Benchmarks

Written by \`npm run bench\`, not by hand. quorum-lock ${version}, Node ${process.versions.node}, redis-server ${servers.version},
${cpus().length} × ${cpus()[0]?.model.trim()}; servers and clients share the machine.
${ROUNDS} rounds each, interleaved; medians of the rounds, ratios taken round by round.

## Against the floor

The floor is a bare fan-out through ioredis clients with the same settings: \`SET NX PX\` to all, majority counted, owner-checked delete on all. It has no
token, no validity, no quarantine. The figures are bare / ours, in µs per acquire and release.

| N | concurrency | p50 | ratio | CPU of the client | ratio | CPU of all servers | ratio |
|---|---|---|---|---|---|---|---|
${lines.join("\n")}

## One of three servers frozen

Median of acquire and release with one server stopped (SIGSTOP), against the same locker with all three: ${median(spread).toFixed(1)} %
(from ${Math.min(...spread).toFixed(1)} % to ${Math.max(...spread).toFixed(1)} % over ${ROUNDS} rounds).

## The engine alone

| | µs | margin of error |
|---|---|---|
${engine.map(({ name, micros, margin }) => `| ${name} | ${micros.toFixed(2)} | ±${margin.toFixed(1)} % |`).join("\n")}
`;
}
