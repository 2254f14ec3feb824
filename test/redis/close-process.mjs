// A program that uses a locker and closes it: must end by itself once its own clients are closed.
import { Redis } from "ioredis";
import { redis, recommendedRedisOptions } from "../../dist/adapters/redis.js";
import { createLocker } from "../../dist/index.js";

const [, , how, ...ports] = process.argv;
const options = how === "recommended" ? recommendedRedisOptions() : {};
const clients = ports.map((port) => {
  const client = new Redis({ host: "127.0.0.1", port: Number(port), ...options });
  client.on("error", () => undefined);
  return client;
});
const locker = createLocker({ backends: clients.map((client) => redis(client)), ttlMs: 2_000, waitMs: 300 });
try {
  await locker.withLock("k", async (lease) => console.log(lease.token > 0n ? "token, closed" : "no token"));
} catch (error) {
  console.log(`${error.code}, closed`);
}
await locker.close();
for (const client of clients) client.disconnect();
