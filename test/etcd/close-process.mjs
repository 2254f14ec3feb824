// A program that uses a locker and closes it: must end by itself once its own client is closed.
import { Etcd3 } from "etcd3";
import { etcd, recommendedEtcdOptions } from "../../dist/adapters/etcd.js";
import { createLocker } from "../../dist/index.js";

const [, , how, port] = process.argv;
const options = how === "recommended" ? recommendedEtcdOptions() : {};
const client = new Etcd3({ hosts: `http://127.0.0.1:${port}`, ...options });
const locker = createLocker({ backends: [etcd(client)], ttlMs: 5_000 });
await locker.withLock("k", async (lease) => console.log(lease.token > 0n ? "token, closed" : "no token"));
await locker.close();
client.close();
