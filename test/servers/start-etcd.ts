// An etcd of one member.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { probeTimeoutMs, type StartOptions } from "./start-options.ts";
import { startKind, type RunningServer, type Seat } from "./running-server.ts";

export type EtcdName = "etcd-3.4" | "etcd-3.5";

/** Clients speak to `http://127.0.0.1:PORT`, gRPC and JSON alike. */
export async function startEtcd(server: EtcdName, options: StartOptions = {}): Promise<RunningServer> {
  const { running } = await startKind({
    server,
    port: options.port,
    furtherPorts: 1,
    keepsData: true,
    portTaken: /address already in use/,
    url: ({ port }) => `etcd://127.0.0.1:${port}`,
    args: (seat) => [...argsOf(seat), ...(options.args ?? [])],
    // Without the word 3.4 does not start on a machine that is no PC.
    env: () => ({ ...(process.arch === "arm64" ? { ETCD_UNSUPPORTED_ARCH: "arm64" } : {}), ...options.env }),
    wipe: (seat) => rm(dataOf(seat), { recursive: true, force: true }),
    answers,
  });
  return running;
}

function argsOf(seat: Seat): string[] {
  const client = `http://127.0.0.1:${seat.port}`;
  const peer = `http://127.0.0.1:${seat.furtherPorts[0]}`;
  const settings = {
    name: seat.token,
    "data-dir": dataOf(seat),
    "listen-client-urls": client,
    "advertise-client-urls": client,
    "listen-peer-urls": peer,
    "initial-advertise-peer-urls": peer,
    "initial-cluster": `${seat.token}=${peer}`,
    // A member that is alone elects itself at once; and a lease may be as short as one second, where the default makes it two.
    "heartbeat-interval": "10",
    "election-timeout": "100",
    "log-level": "error",
  };
  return Object.entries(settings).flatMap(([setting, value]) => [`--${setting}`, value]);
}

function dataOf(seat: Seat): string {
  return join(seat.dir, "data");
}

async function answers(seat: Seat): Promise<boolean> {
  const ask = async (path: string): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${seat.port}${path}`, {
      method: "POST",
      body: JSON.stringify({ key: "AA==" }),
      signal: AbortSignal.timeout(probeTimeoutMs),
    });
    return response.ok ? response.text() : "";
  };
  if (!(await ask("/v3/cluster/member/list")).includes(seat.token)) return false;
  // A read that needs a leader.
  return (await ask("/v3/kv/range")) !== "";
}
