// All that tests need to have real servers.
export type { ServerName } from "../../scripts/servers.mjs";
export { ReplyError, respCall, type Reply } from "./resp-call.ts";
export type { RunningRedis } from "./running-redis.ts";
export { startRedis, startRedises, type RedisOptions } from "./start-redis.ts";
export {
  startCluster,
  startReplica,
  startSentinel,
  type ClusterOptions,
  type RunningCluster,
  type WatchedMaster,
} from "./redis-groups.ts";
