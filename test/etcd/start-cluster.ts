/** Clusters of etcd on this machine: of several members, and those that look like one another. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../servers/free-port.ts";
import { startKind, type RunningServer, type Seat } from "../servers/running-server.ts";
import type { EtcdName } from "../servers/start-etcd.ts";

/** Each member is a server of its own, to be frozen, killed and started again. */
export async function startEtcdCluster(server: EtcdName, members: number): Promise<RunningServer[]> {
  const peers = await Promise.all(
    Array.from({ length: members }, async (_, i) => {
      const url = urlOf(await freePort());
      return { name: `m${i}`, listens: url, advertised: url };
    }),
  );
  const cluster = peers.map(({ name, advertised }) => `${name}=${advertised}`).join(",");
  const settled = await Promise.allSettled(peers.map((peer) => startMember(server, { ...peer, cluster })));
  const running = settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const failed = settled.find((each) => each.status === "rejected");
  if (failed === undefined) return running;
  await Promise.all(running.map((each) => each.stop()));
  throw failed.reason;
}

/** A server with the name, the peer address and so the cluster id of every etcd that was started with the defaults. */
export async function startDefaultEtcd(server: EtcdName): Promise<RunningServer> {
  const advertised = "http://localhost:2380";
  const listens = urlOf(await freePort());
  return startMember(server, { name: "default", listens, advertised, cluster: `default=${advertised}` });
}

interface Member {
  readonly name: string;
  /** Peer URLs. */
  readonly listens: string;
  readonly advertised: string;
  readonly cluster: string;
}

async function startMember(server: EtcdName, member: Member): Promise<RunningServer> {
  const { name, listens, advertised, cluster } = member;
  const { running } = await startKind({
    server,
    keepsData: true,
    portTaken: /address already in use/,
    url: (seat) => `etcd://127.0.0.1:${seat.port}`,
    env: () => (process.arch === "arm64" ? { ETCD_UNSUPPORTED_ARCH: "arm64" } : {}),
    args: (seat) => [
      `--name=${name}`,
      `--data-dir=${dataOf(seat)}`,
      `--listen-client-urls=${urlOf(seat.port)}`,
      `--advertise-client-urls=${urlOf(seat.port)}`,
      `--listen-peer-urls=${listens}`,
      `--initial-advertise-peer-urls=${advertised}`,
      `--initial-cluster=${cluster}`,
      "--heartbeat-interval=20",
      "--election-timeout=200",
      "--log-level=error",
    ],
    wipe: (seat) => rm(dataOf(seat), { recursive: true, force: true }),
    answers,
  });
  return running;
}

function urlOf(port: number): string {
  return `http://127.0.0.1:${port}`;
}

function dataOf(seat: Seat): string {
  return join(seat.dir, "data");
}

/** A read that needs a leader. */
async function answers({ port }: Seat): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${port}/v3/kv/range`, {
    method: "POST",
    body: JSON.stringify({ key: "AA==" }),
    signal: AbortSignal.timeout(1_000),
  });
  return response.ok;
}
