// Several servers that know of each other: a replica, a sentinel with what it watches, a cluster.
import { respCall } from "./resp-call.ts";
import type { ServerName } from "../../scripts/servers.mjs";
import { startConfigured, type RunningRedis } from "./running-redis.ts";
import { startRedis, type RedisOptions } from "./start-redis.ts";
import { waitUntil } from "./wait-until.ts";

const settleTimeoutMs = 30_000;

/** A replica of `of`, in sync when this resolves; of the same product and version unless `options.server` says otherwise. */
export async function startReplica(of: RunningRedis, options: RedisOptions = {}): Promise<RunningRedis> {
  const [user, password] = of.auth?.length === 2 ? of.auth : [undefined, of.auth?.[0]];
  const args = [
    "--replicaof",
    "127.0.0.1",
    String(of.port),
    ...(user === undefined ? [] : ["--masteruser", user]),
    ...(password === undefined ? [] : ["--masterauth", password]),
    ...(options.args ?? []),
  ];
  const replica = await startRedis({ server: of.server, ...options, args });
  await orStop([replica], async () => {
    // The default waits 5 s for more replicas to come before it sends the data.
    await of.cli("CONFIG", "SET", "repl-diskless-sync-delay", "0");
    await waitUntil(
      { what: `replica of port ${of.port} in sync`, timeoutMs: settleTimeoutMs, detail: replica.log },
      async () => String(await replica.cli("INFO", "replication")).includes("master_link_status:up"),
    );
  });
  return replica;
}

export interface WatchedMaster {
  /** The name clients ask the sentinel for. */
  readonly masterName: string;
  readonly sentinel: RunningRedis;
  readonly master: RunningRedis;
  readonly replica: RunningRedis;
  stop(): Promise<void>;
}

/** One sentinel (quorum 1) that watches a master with one replica; it takes a silent master for dead after one second. */
export async function startSentinel(options: { server?: ServerName } = {}): Promise<WatchedMaster> {
  const server = options.server ?? "redis-7";
  const masterName = "mymaster";
  const parts: RunningRedis[] = [];
  return orStop(parts, async () => {
    const master = await startRedis({ server });
    parts.push(master);
    const replica = await startReplica(master);
    parts.push(replica);
    const sentinel = await startConfigured({
      server,
      confLines: [
        `sentinel monitor ${masterName} 127.0.0.1 ${master.port} 1`,
        `sentinel down-after-milliseconds ${masterName} 1000`,
        `sentinel failover-timeout ${masterName} 5000`,
      ],
      args: ["--sentinel"],
      keepsData: true,
      env: {},
      port: undefined,
      auth: undefined,
      credentials: "",
    });
    parts.push(sentinel);
    await waitUntil(
      { what: "sentinel knows the replica", timeoutMs: settleTimeoutMs, detail: sentinel.log },
      async () => {
        const replicas = await sentinel.cli("SENTINEL", "REPLICAS", masterName);
        return (
          Array.isArray(replicas) &&
          replicas.flat().includes(String(replica.port)) &&
          replicas.flat().includes("slave")
        );
      },
    );
    return { masterName, sentinel, master, replica, stop: () => stopAll(parts) };
  });
}

export interface RunningCluster {
  readonly nodes: readonly RunningRedis[];
  stop(): Promise<void>;
}

export interface ClusterOptions extends Omit<RedisOptions, "port" | "password" | "aclLines"> {
  /** Masters that share the 16384 slots; default 1. */
  nodes?: 1 | 3;
}

/** Cluster-enabled masters without replicas; every node says `cluster_state:ok` when this resolves. */
export async function startCluster(options: ClusterOptions = {}): Promise<RunningCluster> {
  const { nodes: count = 1, ...rest } = options;
  const clusterArgs = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "2000",
    "--cluster-announce-ip",
    "127.0.0.1",
  ];
  const nodes: RunningRedis[] = [];
  return orStop(nodes, async () => {
    while (nodes.length < count) {
      nodes.push(await startRedis({ ...rest, args: [...clusterArgs, ...(rest.args ?? [])] }));
    }
    await join(nodes);
    return { nodes, stop: () => stopAll(nodes) };
  });
}

const slotCount = 16_384;

async function join(nodes: readonly RunningRedis[]): Promise<void> {
  for (const [index, node] of nodes.entries()) {
    const first = Math.floor((slotCount * index) / nodes.length);
    const last = Math.floor((slotCount * (index + 1)) / nodes.length) - 1;
    await node.cli("CLUSTER", "ADDSLOTSRANGE", first, last);
    // Different epochs from the start: otherwise the nodes first settle a tie.
    await node.cli("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
  }
  for (const node of nodes.slice(1)) await node.cli("CLUSTER", "MEET", "127.0.0.1", nodes[0]?.port ?? 0);
  for (const node of nodes) {
    await waitUntil(
      { what: `cluster complete for port ${node.port}`, timeoutMs: settleTimeoutMs, detail: node.log },
      async () => {
        const info = String(await respCall({ port: node.port, timeoutMs: 1000 }, ["CLUSTER", "INFO"]));
        return [
          `cluster_state:ok`,
          `cluster_known_nodes:${nodes.length}`,
          `cluster_slots_ok:${slotCount}`,
        ].every((part) => info.includes(part));
      },
    );
  }
}

async function orStop<T>(parts: readonly RunningRedis[], build: () => Promise<T>): Promise<T> {
  try {
    return await build();
  } catch (error) {
    await stopAll(parts);
    throw error;
  }
}

async function stopAll(parts: readonly RunningRedis[]): Promise<void> {
  await Promise.all(parts.map((part) => part.stop()));
}
