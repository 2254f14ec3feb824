/** A cluster of several etcd members on this machine. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../servers/free-port.ts";
import { startKind, type RunningServer, type Seat } from "../servers/running-server.ts";
import type { EtcdName } from "../servers/start-etcd.ts";

/** Each member is a server of its own, to be frozen, killed and started again. */
export async function startEtcdCluster(server: EtcdName, members: number): Promise<RunningServer[]> {
  const peers = await Promise.all(
    Array.from({ length: members }, async (_, i) => ({ name: `m${i}`, port: await freePort() })),
  );
  const urlOf = (port: number): string => `http://127.0.0.1:${port}`;
  const cluster = peers.map(({ name, port }) => `${name}=${urlOf(port)}`).join(",");
  const started = peers.map(({ name, port }) =>
    startKind({
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
        `--listen-peer-urls=${urlOf(port)}`,
        `--initial-advertise-peer-urls=${urlOf(port)}`,
        `--initial-cluster=${cluster}`,
        "--heartbeat-interval=20",
        "--election-timeout=200",
        "--log-level=error",
      ],
      wipe: (seat) => rm(dataOf(seat), { recursive: true, force: true }),
      answers,
    }),
  );
  const settled = await Promise.allSettled(started);
  const running = settled.flatMap((each) => (each.status === "fulfilled" ? [each.value.running] : []));
  const failed = settled.find((each) => each.status === "rejected");
  if (failed === undefined) return running;
  await Promise.all(running.map((each) => each.stop()));
  throw failed.reason;
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
