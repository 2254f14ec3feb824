// One client process of a new deployment: acquires, says the token, ends by itself.
import { Redis } from "ioredis";
import { redis } from "../../dist/adapters/redis.js";
import { createLocker } from "../../dist/index.js";

const [, , index, ...ports] = process.argv;
const clients = ports.map((port) => new Redis({ host: "127.0.0.1", port: Number(port) }));
const locker = createLocker({
  backends: clients.map((client) => redis(client)),
  ttlMs: 2_000,
  waitMs: 5_000,
});
const lease = await locker.acquire(`k${Number(index) % 2}`);
console.log(`token ${lease.token}`);
await lease.release();
await locker.close();
for (const client of clients) client.disconnect();
process.disconnect();
