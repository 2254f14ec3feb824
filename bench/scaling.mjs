/**
 * `npm run bench:scaling`: what each operation costs on the wire and on processors, on servers of its own, beside what the model
 * of docs/scaling.md says, and from that how many servers a load needs. Writes the tables of that page (not with --quick), and
 * fails when a measurement and the model disagree.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { format } from "prettier";
import { recommendedRedisOptions, redis } from "../dist/adapters/redis.js";
import { renewalDelayMs } from "../dist/engine/renewal.js";
import { majority } from "../dist/engine/quorum.js";
import { validityMs } from "../dist/engine/validity.js";
import { createLocker, createShards, DEFAULTS } from "../dist/index.js";
import { flooded } from "./flood.mjs";
import { startServers } from "./servers.mjs";

const quick = process.argv.includes("--quick");
const SIZES = quick ? [3] : [1, 3, 5, 7];
/** How many operations are asked for in one turn of the event loop. */
const TOGETHER = [1, 10, 100];
const OPERATIONS = quick ? 400 : 2_000;
const FLOOD = quick ? 2_000 : 20_000;
const HAND_OVERS = quick ? 50 : 300;
/** Operations one by one come over so many connections at a time, as from many processes. */
const LANES = 16;
const TTL_MS = 30_000;
/** In which a waiter surely was refused and stands in line. */
const STANDING_MS = 4;
/** How far a count may be from the model: calls cross, so that now and then a waiter asks once more. */
const TOLERANCE = 0.1;
/** In which each locker has a server look at itself once, while it uses it. */
const LOOK_MS = 1_000;
/** How much of a processor a server is planned to use, so that a burst, a fork or the loss of a neighbour finds room. */
const PLANNED = 0.5;
const LOADS = [10_000, 100_000, 1_000_000];
const HELD = [100_000, 1_000_000, 10_000_000];
const N_PLANNED = 3;
/** Lockers in use. */
const LOOKERS = 1_000;
/** Keys that were never used before, per second. */
const NEW_KEYS = [100, 1_000, 10_000];
const RETENTIONS = { "7 days (the default)": 604_800, "1 day": 86_400, "1 hour": 3_600 };
const PAGE = fileURLToPath(new URL("../docs/scaling.md", import.meta.url));

const ONE = () => [1, 1];
/** A refusal is certain before q − 1 servers have answered; whatever they may have granted is released. */
const REFUSED = (n) => [1, 1 + (majority(n) - 1) / n];
/** Requests that each of `n` servers gets per operation when nothing travels together: at least, and at most. */
const MODEL = {
  "acquire, free": ONE,
  extend: ONE,
  "acquire, held": REFUSED,
  release: ONE,
  // Refused, in line (before it once without a ticket, where the locker had met no held lock); the holder's release; granted. Where the grant
  // was not waited for, the line is left.
  "wait and hand-over": (n) => [3, 2 * REFUSED(n)[1] + 2 + (n - majority(n)) / n],
  "look at itself": ONE,
};

const [load = 0] = loadavg();
const servers = await startServers(Math.max(...SIZES));
const rows = [];
const observers = new Map();
/** Acquires per second of one server, by how many come together. */
const floods = new Map();
let memory;
try {
  // Compiled and warm code is what is measured.
  for (const server of servers.list) observers.set(server, await createObserver(server));
  for (const together of [1, 100]) await operations(servers.list.slice(0, 3), together);
  for (const n of SIZES) {
    const group = servers.list.slice(0, n);
    for (const together of TOGETHER) {
      rows.push(...(await operations(group, together)));
    }
    rows.push(await handOvers(group));
    if (n === N_PLANNED) rows.push(await lookAtItself(group));
    process.stderr.write(`N = ${n}: done\n`);
  }
  for (const together of TOGETHER) floods.set(together, await flood(servers.list[0], together));
  memory = await memoryOf(servers.list.slice(0, SIZES.includes(3) ? 3 : 1));
} finally {
  for (const observer of observers.values()) observer.close();
  await servers.stop();
}
for (const row of rows) check(row);
await write();
process.exit(0);

/** The four operations on the same keys, one after the other. */
async function operations(group, together) {
  const lanes = together === 1 ? LANES : 1;
  const holders = await open(group, lanes);
  const others = await open(group, lanes);
  const keys = Array.from({ length: OPERATIONS }, (_, i) => `${group.length}:${together}:${i}`);
  const leases = new Map();
  const steps = {
    "acquire, free": async (lane, key) => leases.set(key, await holders[lane].locker.acquire(key)),
    extend: (_lane, key) => leases.get(key).extend(),
    "acquire, held": async (lane, key) => {
      const refusal = await others[lane].locker.tryAcquire(key);
      if (refusal.reason !== "held") throw new Error(`a held key gave ${refusal.reason ?? "a lease"}`);
    },
    release: async (_lane, key) => {
      const outcome = await leases.get(key).release();
      if (outcome !== "released") throw new Error(`a release gave ${outcome}`);
    },
  };
  const found = [];
  for (const [operation, step] of Object.entries(steps)) {
    const cost = await costOf(group, async () => {
      await Promise.all(
        Array.from({ length: lanes }, async (_, lane) => {
          for (let at = lane * together; at < keys.length; at += lanes * together) {
            await Promise.all(keys.slice(at, at + together).map((key) => step(lane, key)));
          }
        }),
      );
    });
    found.push({
      n: group.length,
      operation,
      together,
      ...perOperation(cost, OPERATIONS, { n: group.length, lockers: lanes }),
    });
  }
  for (const each of [...holders, ...others]) await each.close();
  return found;
}

/** One key from one process to the next, which stands in line: a refused attempt, a release, a call, and a second attempt. */
async function handOvers(group) {
  const two = await open(group, 2);
  const key = `hand-over:${group.length}`;
  let held = await two[0].locker.acquire(key);
  let turn = 1;
  const pass = async () => {
    const next = two[turn].locker.acquire(key, { waitMs: 10_000 });
    await sleep(STANDING_MS);
    await held.release();
    held = await next;
    turn = 1 - turn;
  };
  // Until both have heard of every server that it calls, they ask more often.
  for (let i = 0; i < 20; i++) await pass();
  const cost = await costOf(group, async () => {
    for (let i = 0; i < HAND_OVERS; i++) await pass();
  });
  await held.release();
  for (const each of two) await each.close();
  return {
    n: group.length,
    operation: "wait and hand-over",
    together: 1,
    ...perOperation(cost, HAND_OVERS, { n: group.length, lockers: 2 }),
  };
}

/** What a locker has a server look at now and then: who it is, and whether its memory is the same. It comes with an acquire. */
async function lookAtItself(group) {
  const lockers = await open(group, LANES);
  const rounds = quick ? 1 : 3;
  const cycles = (pauseMs) =>
    costOf(group, async () => {
      for (let round = 0; round < rounds; round++) {
        await sleep(pauseMs);
        await Promise.all(
          lockers.map(async ({ locker }, i) => (await locker.acquire(`look:${i}`)).release()),
        );
      }
    });
  const withLooks = await cycles(LOOK_MS + 100);
  const without = await cycles(0);
  for (const { close } of lockers) await close();
  const cost = Object.fromEntries(
    Object.keys(withLooks).map((field) => [field, withLooks[field] - without[field]]),
  );
  const count = rounds * LANES;
  return {
    n: group.length,
    operation: "look at itself",
    together: 1,
    ...perOperation(cost, count, { n: group.length, lockers: 0 }),
  };
}

/** Lockers with connections of their own, in service. */
async function open(group, count) {
  const opened = Array.from({ length: count }, () => {
    const clients = group.map(({ port }) => {
      const client = new Redis({ host: "127.0.0.1", port, ...recommendedRedisOptions() });
      client.on("error", () => undefined);
      return client;
    });
    const backends = clients.map((client) => redis(client, { prefix: `scale${group.length}` }));
    const locker = createLocker({ backends, ttlMs: TTL_MS });
    return {
      locker,
      clients,
      async close() {
        await locker.close();
        for (const client of clients) client.disconnect();
      },
    };
  });
  // Whoever begins learns what the servers are, which is not part of an operation.
  for (const [i, { locker }] of opened.entries()) {
    await (await locker.acquire(`start:${i}`, { waitMs: 10_000 })).release();
  }
  return opened;
}

/** What happened while something ran, over all servers of the group, and in this process. Looks are not counted. */
async function costOf(group, run) {
  await quiet(group);
  const before = await looks(group);
  const cpu = process.cpuUsage();
  const from = performance.now();
  await run();
  const { user, system } = process.cpuUsage(cpu);
  const ms = performance.now() - from;
  // What nobody waits for is part of the cost.
  await quiet(group);
  const after = await looks(group);
  const sum = (field) => after.reduce((total, look, i) => total + look[field] - before[i][field], 0);
  return {
    calls: sum("calls"),
    commands: sum("commands"),
    bytesIn: sum("bytesIn"),
    bytesOut: sum("bytesOut"),
    serverCpu: sum("cpu"),
    clientCpu: user + system,
    ms,
  };
}

/** Each per operation and server, but for the processor time of the client: that is for all servers together. */
function perOperation(cost, count, { n, lockers }) {
  const each = (value) => value / count / n;
  return {
    calls: each(cost.calls),
    commands: each(cost.commands),
    bytesIn: each(cost.bytesIn),
    bytesOut: each(cost.bytesOut),
    serverCpu: each(cost.serverCpu),
    clientCpu: cost.clientCpu / count,
    /** So many requests per operation and server may be looks. */
    looks: (lockers * (cost.ms / LOOK_MS + 1)) / count,
  };
}

/** Until no server has anything more to do. Bounded. */
async function quiet(group) {
  let before = Number.NaN;
  for (let tries = 0; tries < 100; tries++) {
    const now = (await looks(group)).reduce((sum, { calls }) => sum + calls, 0);
    if (now === before) return;
    before = now;
    await sleep(3);
  }
}

function looks(group) {
  return Promise.all(group.map((server) => observers.get(server).look()));
}

/** A look at what a server counted, less what looking at it costs. */
async function createObserver({ port }) {
  const client = new Redis({ host: "127.0.0.1", port, enableReadyCheck: false });
  client.on("error", () => undefined);
  const question = Buffer.byteLength("*2\r\n$4\r\ninfo\r\n$10\r\neverything\r\n");
  let asked = 0;
  let answers = 0;
  let cpuPerLook = 0;
  async function look() {
    const text = await client.info("everything");
    const figure = (pattern) => Number(new RegExp(`^${pattern}([\\d.]+)`, "m").exec(text)?.[1] ?? 0);
    // A question is counted before it is answered, and an answer when it is sent.
    const seen = {
      calls: figure("cmdstat_evalsha:calls=") + figure("cmdstat_eval:calls="),
      commands: figure("total_commands_processed:") - asked,
      bytesIn: figure("total_net_input_bytes:") - (asked + 1) * question,
      bytesOut: figure("total_net_output_bytes:") - answers,
      cpu: (figure("used_cpu_user:") + figure("used_cpu_sys:")) * 1e6 - asked * cpuPerLook,
      memory: figure("used_memory:"),
    };
    const length = Buffer.byteLength(text);
    asked++;
    answers += length + `$${length}\r\n\r\n`.length;
    return seen;
  }
  const first = await look();
  for (let i = 0; i < 20; i++) await look();
  cpuPerLook = ((await look()).cpu - first.cpu) / 21;
  return { look, close: () => client.disconnect() };
}

/** The most acquires per second that one server was seen to do, in some tries. */
async function flood(server, together) {
  let most = 0;
  for (let tries = 0; tries < 3; tries++) {
    await server.flush();
    const [{ locker, clients, close }] = await open([server], 1);
    most = Math.max(most, await flooded(server.port, { locker, client: clients[0], together, count: FLOOD }));
    await close();
  }
  return most;
}

/** What a held lease and a released key take on a server, in bytes. */
async function memoryOf(group) {
  // An empty server: tables for keys of before would be taken for nothing.
  for (const server of group) await server.flush();
  const [{ locker, close }] = await open(group, 1);
  const count = OPERATIONS * 5;
  const used = async () => {
    await quiet(group);
    return (await looks(group)).reduce((sum, look) => sum + look.memory, 0) / group.length;
  };
  const empty = await used();
  const leases = [];
  for (let from = 0; from < count; from += 100) {
    const some = Array.from({ length: 100 }, (_, i) => locker.acquire(`account:${from + i}`));
    leases.push(...(await Promise.all(some)));
  }
  const held = (await used()) - empty;
  for (let from = 0; from < count; from += 100) {
    await Promise.all(leases.slice(from, from + 100).map((lease) => lease.release()));
  }
  const released = (await used()) - empty;
  await close();
  return { held: held / count, released: released / count };
}

/** Throws when the model of the page does not say what was measured. */
function check({ n, operation, together, calls, commands, looks }) {
  const [least, most] = modelOf(n, operation, together);
  if (calls < least * (1 - TOLERANCE) || calls > most * (1 + TOLERANCE) + looks) {
    const what = `${operation}, N = ${n}, ${together} together`;
    throw new Error(`${what}: ${calls.toFixed(3)} requests per server, the model says ${least} to ${most}`);
  }
  if (!(commands > 0)) throw new Error(`${operation}: no commands were counted`);
}

function modelOf(n, operation, together) {
  return MODEL[operation](n).map((requests) => requests / together);
}

function modelText(bounds) {
  const texts = bounds.map((bound) => String(Number(bound.toFixed(3))));
  return [...new Set(texts)].join(" to ");
}

function costTable() {
  const list = rows.filter(({ n }) => n === N_PLANNED);
  return table(
    [
      "operation",
      "together",
      "requests: model",
      "measured",
      "commands within",
      "bytes to the server",
      "back",
      "server CPU, µs",
      "client CPU for all servers, µs",
    ],
    list.map((row) => [
      row.operation,
      row.together,
      modelText(modelOf(row.n, row.operation, row.together)),
      row.calls.toFixed(3),
      row.commands.toFixed(1),
      row.bytesIn.toFixed(0),
      row.bytesOut.toFixed(0),
      row.serverCpu.toFixed(1),
      row.clientCpu.toFixed(0),
    ]),
  );
}

function sizeTable() {
  const list = rows.filter(({ operation, together }) => operation === "acquire, free" && together === 1);
  const of = (n, operation, together) =>
    rows.find((row) => row.n === n && row.operation === operation && row.together === together);
  return table(
    [
      "N",
      "answers that decide",
      "messages per acquire",
      "bytes, there and back",
      "CPU of the client, µs: acquire",
      "of 100 together, each",
      "release",
      "of 100 together, each",
    ],
    list.map(({ n, calls, bytesIn, bytesOut, clientCpu }) => [
      n,
      majority(n),
      (2 * n * calls).toFixed(1),
      (n * (bytesIn + bytesOut)).toFixed(0),
      clientCpu.toFixed(0),
      of(n, "acquire, free", 100).clientCpu.toFixed(0),
      of(n, "release", 1).clientCpu.toFixed(0),
      of(n, "release", 100).clientCpu.toFixed(0),
    ]),
  );
}

/** Of an acquire and a release, on one server; the client's for all servers. */
function pair(together) {
  const [acquire, release] = ["acquire, free", "release"].map((operation) => find(operation, together));
  const sum = (field) => acquire[field] + release[field];
  return { cpu: sum("serverCpu"), bytes: sum("bytesIn") + sum("bytesOut"), clientCpu: sum("clientCpu") };
}

function find(operation, together) {
  return rows.find((row) => row.n === N_PLANNED && row.operation === operation && row.together === together);
}

function shardsFor(cpuPerSecond) {
  return Math.max(1, Math.ceil(cpuPerSecond / (1e6 * PLANNED)));
}

function nodeTable() {
  return table(
    [
      "together",
      "acquires/s",
      "extensions/s",
      "releases/s",
      "pairs of acquire and release/s",
      "acquires/s when flooded",
    ],
    TOGETHER.map((together) => {
      const perSecond = (cpu) => figure(1e6 / cpu, 3);
      const cpu = (operation) => find(operation, together).serverCpu;
      return [
        together,
        ...["acquire, free", "extend", "release"].map((operation) => perSecond(cpu(operation))),
        perSecond(pair(together).cpu),
        figure(floods.get(together), 3),
      ];
    }),
  );
}

function loadTable() {
  return table(
    ["pairs/s", "together", "shards", `servers, ${N_PLANNED} each`, "MB/s per server", "client processors"],
    LOADS.flatMap((perSecond) =>
      TOGETHER.map((together) => {
        const { cpu, bytes, clientCpu } = pair(together);
        const shards = shardsFor(perSecond * cpu);
        return [
          figure(perSecond),
          together,
          figure(shards),
          figure(shards * N_PLANNED),
          ((perSecond * bytes) / shards / 1e6).toFixed(1),
          figure((perSecond * clientCpu) / 1e6, 2),
        ];
      }),
    ),
  );
}

/** The mean pause between two extensions of a kept lease, in seconds. */
function renewalSeconds() {
  const bounds = { driftPpm: DEFAULTS.driftPpm, earlyByMs: 1, grainMs: 1 };
  const wholeMs = validityMs(TTL_MS, bounds);
  return renewalDelayMs({ remainingMs: wholeMs, validityMs: wholeMs, failures: 0 }, 0.5) / 1000;
}

function heldTable() {
  return table(
    [
      "held leases",
      "extensions/s",
      "together",
      "shards",
      `servers, ${N_PLANNED} each`,
      "GB per server",
      "client processors",
    ],
    HELD.flatMap((leases) =>
      [1, 100].map((together) => {
        const perSecond = leases / renewalSeconds();
        const { serverCpu, clientCpu } = find("extend", together);
        const shards = shardsFor(perSecond * serverCpu);
        return [
          figure(leases),
          figure(perSecond, 3),
          together,
          figure(shards),
          figure(shards * N_PLANNED),
          ((leases * memory.held) / shards / 1e9).toFixed(2),
          figure((perSecond * clientCpu) / 1e6, 2),
        ];
      }),
    ),
  );
}

/** Finding the shard of a key. */
function placingTable() {
  const keys = Array.from({ length: 100_000 }, (_, i) => `account:${i}`);
  const micros = (n) => {
    const shards = createShards(Array.from({ length: n }, (_, i) => ({ name: `locks-${i + 1}` })));
    const turns = Array.from({ length: 5 }, () => {
      const before = process.cpuUsage();
      for (const key of keys) shards.shardFor(key);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / keys.length;
    });
    return turns.sort((a, b) => a - b)[2].toFixed(2);
  };
  const sizes = [1, 4, 16, 64, 1_000];
  return table(["shards", ...sizes.map((n) => figure(n))], [["µs per key", ...sizes.map(micros)]]);
}

/** Of keys that are used once. */
function memoryTable() {
  const rows = Object.entries(RETENTIONS).map(([name, seconds]) => [
    name,
    ...NEW_KEYS.map((perSecond) => ((perSecond * seconds * memory.released) / 1e9).toFixed(2)),
  ]);
  return `A held lease takes ${figure(memory.held, 3)} bytes of each server, and a released key ${figure(memory.released, 3)} bytes for as long as its counter is kept.

${table(["`tokenRetentionMs`", ...NEW_KEYS.map((perSecond) => `${figure(perSecond)} new keys/s: GB`)], rows)}`;
}

function figure(value, digits = 15) {
  return Number(value.toPrecision(digits)).toLocaleString("en-US");
}

function table(head, body) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}

async function write() {
  const parts = {
    cost: `Written by \`npm run bench:scaling\`, not by hand. Node ${process.versions.node}, redis-server ${servers.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}, whose load was
${load.toFixed(1)} when the run began; client and servers share it. Per operation and per server, N = ${N_PLANNED}, ${figure(OPERATIONS)} operations of each kind; "together" is how many were asked for in one turn of the
event loop, those one by one over ${LANES} connections at a time. Bytes are those of the protocol, without the headers of TCP and IP.

${costTable()}`,
    size: sizeTable(),
    placing: placingTable(),
    node: `${nodeTable()}

Each locker in use has every server look at itself once a second: ${figure(LOOKERS)} of them take ${figure((LOOKERS * find("look at itself", 1).serverCpu) / 1e4, 2)} % of a processor.`,
    memory: memoryTable(),
    load: `A server is planned to use ${PLANNED * 100} % of a processor.

${loadTable()}`,
    held: `TTL ${TTL_MS / 1000} s: a kept lease is extended every ${renewalSeconds().toFixed(1)} s.

${heldTable()}`,
  };
  if (quick) {
    for (const text of Object.values(parts))
      console.log(await format(text, { parser: "markdown", printWidth: 110 }));
    return;
  }
  let page = readFileSync(PAGE, "utf8");
  for (const [part, text] of Object.entries(parts)) {
    const span = new RegExp(`(<!-- measured: ${part} -->\\n)[\\s\\S]*?(<!-- end -->)`);
    if (!span.test(page)) throw new Error(`docs/scaling.md has no place for ${part}`);
    page = page.replace(span, (_, start, end) => `${start}\n${text}\n\n${end}`);
  }
  writeFileSync(PAGE, await format(page, { parser: "markdown", printWidth: 110 }));
}
