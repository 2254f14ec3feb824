/** What only this library is asked: the loss signal, the way back of a backend, and what held leases cost. */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { createLocker } from "../../dist/index.js";
import { recommendedRedisOptions, redis } from "../../dist/adapters/redis.js";
import { median } from "../measure.mjs";

/** How long before the end of validity the signal of a lease comes while every server hangs, in ms. */
export async function lossSignal(plan, servers) {
  const trio = servers.list.slice(0, 3);
  const margins = [];
  for (let round = 0; round < plan.lossRounds; round++) {
    const { locker, close } = open(trio, { ttlMs: 1_000, prefix: "loss" });
    const lease = await locker.acquire(`loss:${round}`, { keepAlive: true });
    for (const server of trio) server.freeze();
    const heldUntil = () => performance.now() + lease.remainingMs;
    let end = heldUntil();
    const watch = setInterval(() => {
      if (lease.remainingMs > 0) end = heldUntil();
    }, 20);
    await new Promise((resolve) => lease.signal.addEventListener("abort", resolve, { once: true }));
    margins.push(end - performance.now());
    clearInterval(watch);
    for (const server of trio) server.thaw();
    await close();
  }
  plan.tell("loss signal: done");
  margins.sort((a, b) => a - b);
  return { median: median(margins), least: margins[0], most: margins.at(-1), rounds: margins.length };
}

/** How long after its server runs again a killed backend answers, in ms. */
export async function recovery(plan, servers) {
  const trio = servers.list.slice(0, 3);
  const times = [];
  for (let round = 0; round < plan.lossRounds; round++) {
    const { locker, close } = open(trio, { ttlMs: 10_000, prefix: "recovery" });
    await (await locker.acquire("recovery", { waitMs: 5_000 })).release();
    await trio[2].kill();
    const recovered = new Promise((resolve) => locker.on("backendRecovered", resolve));
    const stop = keepAsking(locker);
    await sleep(200);
    await trio[2].revive();
    const at = performance.now();
    await Promise.race([recovered, sleep(10_000)]);
    times.push(performance.now() - at);
    await stop();
    await close();
  }
  plan.tell("recovery: done");
  return { median: median(times), most: Math.max(...times), rounds: times.length };
}

function keepAsking(locker) {
  let over = false;
  const asking = (async () => {
    for (let i = 0; !over; i++) {
      const lease = await locker.acquire(`ask:${i}`).catch(() => undefined);
      await lease?.release();
      await sleep(5);
    }
  })();
  return async () => {
    over = true;
    await asking;
  };
}

/** The TTL of held leases, and with how much of it left a lease counts as missed: it is extended with two thirds left. */
const HELD_TTL_MS = 30_000;
const MISSED_MS = HELD_TTL_MS / 2;
/** So many acquires at once, and in a second: extensions come in the rhythm of the acquires, and no faster than they must. */
const ACQUIRES_AT_ONCE = 200;
const ACQUIRES_PER_SECOND = 10_000;

/**
 * Leases with a TTL of 30 s that one process keeps alive: processor time of the process, memory, extensions, and what was
 * missed. Processor time says what it costs even while others use the machine, though shared caches make it more then.
 */
export async function heldLeases(plan, servers) {
  const trio = servers.list.slice(0, 3);
  const rows = [];
  for (const count of plan.leaseCounts) {
    const { locker, close } = open(trio, { ttlMs: HELD_TTL_MS, waitMs: 30_000, prefix: `held${count}` });
    let extensions = 0;
    let lost = 0;
    let atRisk = 0;
    locker.on("extended", () => extensions++);
    locker.on("lost", ({ reason }) => {
      if (reason !== "closed") lost++;
    });
    locker.on("atRisk", () => atRisk++);
    // What the first acquires leave behind, such as compiled code and buffers, is not the leases'.
    await Promise.all(
      Array.from({ length: 1_000 }, async (_, i) => (await locker.acquire(`warm:${i}`)).release()),
    );
    const heapBefore = await heapUsed();
    const serverBefore = await serverMemory(trio);
    const leases = new Array(count);
    let next = 0;
    const startedAt = performance.now();
    await Promise.all(
      Array.from({ length: ACQUIRES_AT_ONCE }, async () => {
        while (next < count) {
          const i = next++;
          const dueMs = startedAt + (i / ACQUIRES_PER_SECOND) * 1000 - performance.now();
          if (dueMs > 1) await sleep(dueMs);
          leases[i] = await locker.acquire(`held:${i}`, { keepAlive: true });
        }
      }),
    );
    const bytes = ((await heapUsed()) - heapBefore) / count;
    const serverBytes = ((await serverMemory(trio)) - serverBefore) / trio.length / count;
    const cpuBefore = process.cpuUsage();
    const from = performance.now();
    extensions = 0;
    await sleep(plan.leaseSeconds * 1000);
    const ms = performance.now() - from;
    const cpu = process.cpuUsage(cpuBefore);
    const cpuMs = (cpu.user + cpu.system) / 1000;
    const extended = extensions;
    const leftMs = leases.map(({ remainingMs }) => remainingMs);
    rows.push({
      count,
      cores: cpuMs / ms,
      micros: (cpuMs * 1000) / extended,
      perSecond: (extended / ms) * 1000,
      lost,
      atRisk,
      missed: leftMs.filter((left) => left < MISSED_MS).length,
      shortestMs: leftMs.reduce((a, b) => Math.min(a, b)),
      bytes,
      serverBytes,
    });
    plan.tell(`${count} held leases: done`);
    await close();
    for (const server of trio) await server.flush();
  }
  return rows;
}

async function heapUsed() {
  // What is still on its way settles first.
  await sleep(200);
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

async function serverMemory(trio) {
  const used = await Promise.all(trio.map((server) => server.usedMemory()));
  return used.reduce((a, b) => a + b, 0);
}

function open(trio, { prefix, ...options }) {
  const clients = trio.map(({ port }) => {
    const client = new Redis({ host: "127.0.0.1", port, ...recommendedRedisOptions() });
    client.on("error", () => undefined);
    return client;
  });
  const locker = createLocker({ backends: clients.map((client) => redis(client, { prefix })), ...options });
  return {
    locker,
    async close() {
      await locker.close();
      for (const client of clients) client.disconnect();
    },
  };
}
