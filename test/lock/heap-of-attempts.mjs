/**
 * Prints how many bytes of an acquire and release that are over still lie in the heap, where only what is young was collected: run by
 * lock/heap.test.ts with --expose-gc, and with how long an acquire may wait, in milliseconds. Many at once, on backends that answer a
 * little later, as in a busy process.
 */
import { setImmediate as turn } from "node:timers/promises";
import { getHeapSpaceStatistics } from "node:v8";
import { createLocker } from "../../dist/index.js";
import { forgetful } from "./forgetful-backend.mjs";

const AT_ONCE = 64;
const ATTEMPTS = 6_000;

function oldBytes() {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === "old_space").space_used_size;
}

const locker = createLocker({
  backends: ["a", "b", "c"].map((name) => forgetful(name, turn)),
  ttlMs: 30_000,
  waitMs: Number(process.argv[2]),
});
let started = 0;

async function run(attempts) {
  const end = started + attempts;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (started < end) {
        const lease = await locker.acquire(`k${started++}`);
        await lease.release();
      }
    }),
  );
}

await run(ATTEMPTS);
globalThis.gc();
const before = oldBytes();
await run(ATTEMPTS);
console.log(Math.round((oldBytes() - before) / ATTEMPTS));
await locker.close();
