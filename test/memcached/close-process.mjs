// A program that uses a locker and closes it: must end by itself, since its own clients never had a connection.
import { Client } from "memjs";
import { memcached } from "../../dist/adapters/memcached.js";
import { createLocker } from "../../dist/index.js";

const clients = process.argv.slice(2).map((port) => Client.create(`127.0.0.1:${port}`));
const locker = createLocker({ backends: clients.map((client) => memcached(client)), ttlMs: 5_000 });
await locker.withLock("k", async (lease) => console.log(lease.token > 0n ? "token, closed" : "no token"));
await locker.close();
