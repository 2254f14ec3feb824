/**
 * Prints how much heap a lease costs, in bytes, as JSON: run by lock/heap.test.ts with --expose-gc. Backends that grant all and
 * remember nothing, so that what is measured is this library's own; each lease's key is counted too.
 */
import { createLocker } from "../../dist/index.js";
import { forgetful } from "./forgetful-backend.mjs";

const LEASES = 4_000;

const locker = createLocker({ backends: ["a", "b", "c"].map((name) => forgetful(name)), ttlMs: 30_000 });

async function settledHeap() {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  globalThis.gc();
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

async function hold(count, options) {
  const leases = [];
  for (let i = 0; i < count; i++) leases.push(await locker.acquire(`key ${i} of many`, options));
  return leases;
}

async function measure(options) {
  const before = await settledHeap();
  const leases = await hold(LEASES, options);
  const held = ((await settledHeap()) - before) / LEASES;
  for (const lease of leases) await lease.extend();
  const extended = ((await settledHeap()) - before) / LEASES;
  for (const lease of leases) void lease.signal;
  const withSignal = ((await settledHeap()) - before) / LEASES;
  for (const lease of leases) await lease.release();
  leases.length = 0;
  const released = ((await settledHeap()) - before) / LEASES;
  return { held, extended, withSignal, released };
}

// What is made once, compiled code among it, is not the leases'.
await measure({ keepAlive: true });
const kept = await measure({ keepAlive: true });
const watched = await measure({ keepAlive: false });
await locker.close();
process.stdout.write(JSON.stringify({ kept, watched }));
