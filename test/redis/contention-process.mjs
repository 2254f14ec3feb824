// One of many that want the same key: says "ready"; told to go, takes its turns and says of each how long it waited, in ms.
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { recommendedRedisOptions, redis } from "../../dist/adapters/redis.js";
import { createLocker } from "../../dist/index.js";

const [, , turns, ...ports] = process.argv;
const HOLD_MS = 5;
const THINK_MS_MAX = 50;

const clients = ports.map((port) => new Redis({ port: Number(port), ...recommendedRedisOptions() }));
for (const client of clients) client.on("error", () => undefined);
const locker = createLocker({
  backends: clients.map((client) => redis(client)),
  ttlMs: 10_000,
  waitMs: 60_000,
});
await (await locker.acquire(`own-${process.pid}`)).release();
process.once("message", async () => {
  for (let turn = 0; turn < Number(turns); turn++) {
    await sleep(Math.random() * THINK_MS_MAX);
    const asked = performance.now();
    const lease = await locker.acquire("k");
    const waitedMs = performance.now() - asked;
    await sleep(HOLD_MS);
    await lease.release();
    process.send(waitedMs);
  }
  await locker.close();
  for (const client of clients) client.disconnect();
  process.disconnect();
});
process.send("ready");
process.on("disconnect", () => process.exit(0));
