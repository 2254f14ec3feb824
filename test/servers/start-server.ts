// Any server by its name, all in the same form, so that a list of cases is written once and run against each of them.
import type { ServerName } from "../../scripts/servers.mjs";
import type { RunningServer } from "./running-server.ts";
import { startMariadb, startPostgres } from "./sql-server.mjs";
import { startConsul } from "./start-consul.ts";
import { startEtcd } from "./start-etcd.ts";
import { startMemcached } from "./start-memcached.ts";
import { startMongodb } from "./start-mongodb.ts";
import type { StartOptions } from "./start-options.ts";
import { startRedis } from "./start-redis.ts";
import { startZookeeper } from "./start-zookeeper.ts";

export type { Memory, RunningServer } from "./running-server.ts";
export type { StartOptions } from "./start-options.ts";

/** As durable as the server can be: Redis and Valkey with an append-only file. */
export function startServer(name: ServerName, options: StartOptions = {}): Promise<RunningServer> {
  switch (name) {
    case "redis-7":
    case "redis-8":
    case "valkey-8":
      return startRedis({ server: name, appendOnly: "always", ...options });
    case "postgres":
      return startPostgres(options);
    case "mariadb":
      return startMariadb(options);
    case "etcd-3.4":
    case "etcd-3.5":
      return startEtcd(name, options);
    case "memcached-1.6.18":
    case "memcached-1.6.38":
      return startMemcached(name, options);
    case "consul":
      return startConsul(options);
    case "mongodb":
      return startMongodb(options);
    case "zookeeper":
      return startZookeeper(options);
  }
}
