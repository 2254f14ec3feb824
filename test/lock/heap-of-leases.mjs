/**
 * Prints how much heap a lease costs, in bytes, as JSON: run by lock/heap.test.ts with --expose-gc. Backends that grant all and
 * remember nothing, so that what is measured is this library's own; each lease's key is counted too.
 */
import { createLocker } from "../../dist/index.js";

const LEASES = 4_000;

function forgetful(name) {
  const identity = { serverId: name, incarnation: `memory of ${name}` };
  const capabilities = {
    earlyByMs: 0,
    lateByMs: 0,
    expiryClock: "monotonic",
    durable: true,
    lists: false,
    atomicStep: "none",
    acquireRoundTrips: 1,
  };
  const open = () => ({
    acquire: async ({ proposal }) => ({ kind: "granted", fence: proposal, identity }),
    raise: async () => "raised",
    extend: async () => ({ kind: "extended", identity }),
    release: async () => "released",
    status: async () => ({ kind: "in-service", identity }),
    join: async () => undefined,
    bootstrap: async () => undefined,
    close: async () => undefined,
  });
  return { kind: "forgetful", name, client: {}, capabilities, open };
}

const locker = createLocker({ backends: ["a", "b", "c"].map(forgetful), ttlMs: 30_000 });

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
