// A Consul of one server.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startKind, type RunningServer, type Seat } from "./running-server.ts";
import { probeTimeoutMs, type StartOptions } from "./start-options.ts";

/** Clients speak to `http://127.0.0.1:PORT`. */
export async function startConsul(options: StartOptions = {}): Promise<RunningServer> {
  const { running } = await startKind({
    server: "consul",
    port: options.port,
    furtherPorts: 3,
    keepsData: true,
    portTaken: /address already in use/,
    url: ({ port }) => `consul://127.0.0.1:${port}`,
    args: (seat) => ["agent", `-config-file=${confOf(seat)}`, ...(options.args ?? [])],
    env: () => options.env ?? {},
    wipe,
    answers,
  });
  return running;
}

async function wipe(seat: Seat): Promise<void> {
  const data = join(seat.dir, "data");
  await rm(data, { recursive: true, force: true });
  await mkdir(data);
  const [server, lan, wan] = seat.furtherPorts;
  const conf = {
    server: true,
    bootstrap_expect: 1,
    node_name: seat.token,
    datacenter: `dc-${seat.token}`,
    data_dir: data,
    bind_addr: "127.0.0.1",
    client_addr: "127.0.0.1",
    ports: { http: seat.port, server, serf_lan: lan, serf_wan: wan, dns: -1, grpc: -1, https: -1 },
    // Elections as quick as Consul allows.
    performance: { raft_multiplier: 1 },
    session_ttl_min: "1s",
    disable_update_check: true,
    log_level: "warn",
  };
  await writeFile(confOf(seat), JSON.stringify(conf));
}

function confOf(seat: Seat): string {
  return join(seat.dir, "server.json");
}

async function answers(seat: Seat): Promise<boolean> {
  const ask = (path: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${seat.port}${path}`, { signal: AbortSignal.timeout(probeTimeoutMs) });
  if (!(await (await ask("/v1/agent/self")).text()).includes(`"NodeName":"${seat.token}"`)) return false;
  // A read that needs a leader: without one it is an error of the server, with one the key is not there.
  return (await ask("/v1/kv/ready?consistent")).status === 404;
}
