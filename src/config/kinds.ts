/** All kinds of backends, by the scheme of their URLs. Their adapters and clients are loaded when one is opened. */
import type { Kind } from "./kind.js";
import { consulKind } from "./kinds/consul.js";
import { etcdKind } from "./kinds/etcd.js";
import { memcachedKind } from "./kinds/memcached.js";
import { mongodbKind } from "./kinds/mongodb.js";
import { mysqlKind } from "./kinds/mysql.js";
import { noopKind } from "./kinds/noop.js";
import { postgresKind } from "./kinds/postgres.js";
import { redisKind } from "./kinds/redis.js";
import { sqliteKind } from "./kinds/sqlite.js";
import { zookeeperKind } from "./kinds/zookeeper.js";

/** In the order of the docs. */
export const KINDS: readonly Kind[] = [
  redisKind,
  postgresKind,
  mysqlKind,
  mongodbKind,
  etcdKind,
  consulKind,
  zookeeperKind,
  memcachedKind,
  sqliteKind,
  noopKind,
];

/** Every scheme, for messages. */
export const SCHEMES: readonly string[] = KINDS.flatMap(({ schemes }) => Object.keys(schemes));

/** The kind with that scheme; undefined for none. */
export function kindOf(scheme: string): Kind | undefined {
  return KINDS.find(({ schemes }) => Object.hasOwn(schemes, scheme));
}
