/** Redis and Valkey, through ioredis. */
import { given, LOGIN_FIELDS, TLS_FIELDS, type Kind } from "../kind.js";
import { loadPackage } from "../packages.js";

const DATABASE = /^\d{1,5}$/;

/** `redis://`, `rediss://`, `redis+unix://` */
export const redisKind: Kind = {
  kind: "redis",
  schemes: { redis: { tls: false }, rediss: { tls: true }, "redis+unix": { tls: false } },
  forms: "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss://… (TLS) or redis+unix:///PATH[?database=DB]",
  fields: ["name", "prefix", "durable", "database", ...LOGIN_FIELDS, ...TLS_FIELDS],
  hosts: "one",
  port: 6379,
  pathIs: "database",
  packages: ["ioredis"],
  check({ fields }, refuse): void {
    if (fields.database !== undefined && !DATABASE.test(fields.database)) {
      throw refuse("database", "a number, such as 2");
    }
  },
  async open({ hosts: [server], path, fields, tls }) {
    const { redis } = await import("../../adapters/redis.js");
    const { Redis } = await loadPackage("ioredis", "redis:// backends need", () => import("ioredis"));
    // Never connected: the adapter makes its own duplicates of clients that have no settings for locks.
    const client = new Redis({
      ...(path === undefined ? { host: server?.host ?? "localhost", port: server?.port ?? 6379 } : { path }),
      ...(fields.user === undefined ? {} : { username: fields.user }),
      ...(fields.password === undefined ? {} : { password: fields.password }),
      ...(tls === undefined ? {} : { tls }),
      db: Number(fields.database ?? 0),
      lazyConnect: true,
    });
    const backend = redis(client, given(fields, "name", "prefix", "durable"));
    return { backend, close: async () => client.disconnect() };
  },
};
