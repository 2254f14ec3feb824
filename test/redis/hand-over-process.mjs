// One holder of a lease in a process of its own. Told what to do line by line; says one JSON line for each.
import { createInterface } from "node:readline";
import { Redis } from "ioredis";
import { redis, recommendedRedisOptions } from "../../dist/adapters/redis.js";
import { guardedSet } from "../../dist/guard/redis.js";
import { createLocker } from "../../dist/index.js";

const clients = process.argv.slice(2).map((port) => {
  const client = new Redis({ host: "127.0.0.1", port: Number(port), ...recommendedRedisOptions() });
  client.on("error", () => undefined);
  return client;
});
const locker = createLocker({
  backends: clients.map((client) => redis(client)),
  ttlMs: 1_500,
  maxTtlMs: 2_000,
  clockSkewMs: 500,
  waitMs: 5_000,
});
let lease;

const ORDERS = {
  async start() {
    return {};
  },
  async acquire() {
    lease = await locker.acquire("job", { keepAlive: true });
    return { token: String(lease.token) };
  },
  async handOver() {
    return { handOver: await lease.handOver() };
  },
  async adopt({ handOver }) {
    lease = await locker.adopt(handOver, { keepAlive: true });
    return { token: String(lease.token) };
  },
  async look() {
    return { state: lease.toJSON().state, remainingMs: lease.remainingMs, lost: lease.signal.aborted };
  },
  async write({ value }) {
    await guardedSet(clients[0], lease, { key: "{job}:data", value });
    return { written: value };
  },
  async release() {
    return { released: await lease.release() };
  },
  async exit() {
    process.exit(0);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...input } = JSON.parse(line);
  const said = await ORDERS[order](input).catch((error) => ({ code: error.code, message: error.message }));
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
await locker.close();
for (const client of clients) client.disconnect();
