/** Every kind of backend that can be put under chaos. A new adapter adds its file to kinds/ and a line here. */
import type { Kind } from "./kind.ts";
import { consulKind } from "./kinds/consul.ts";
import { etcdKind } from "./kinds/etcd.ts";
import { mongodbKind } from "./kinds/mongodb.ts";
import { mysqlKind } from "./kinds/mysql.ts";
import { postgresKind } from "./kinds/postgres.ts";
import { durableRedis, volatileRedis } from "./kinds/redis.ts";
import { zookeeperKind } from "./kinds/zookeeper.ts";

const KINDS: readonly Kind[] = [
  volatileRedis,
  durableRedis,
  postgresKind,
  mysqlKind,
  etcdKind,
  zookeeperKind,
  consulKind,
  mongodbKind,
];

/** Their names, for the help text. */
export const kindNames: readonly string[] = KINDS.map(({ name }) => name);

/** The kind of that name. */
export function kindOf(name: string): Kind {
  const kind = KINDS.find((each) => each.name === name);
  if (kind === undefined)
    throw new Error(`no kind ${JSON.stringify(name)}; there are ${kindNames.join(", ")}`);
  return kind;
}
