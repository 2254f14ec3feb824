/** What one phase runs on: backends, a faulty link from each client to each of them, and client processes. */
import type { BackendSession } from "../../src/backend.js";
import type { Faketime } from "../../scripts/servers/faketime.mjs";
import type * as Options from "../../src/options.js";
import { startTcpProxy, type TcpProxy } from "../servers/tcp-proxy.ts";
import { waitUntil } from "../servers/wait-until.ts";
import { startClient, type ClientProcess } from "./client-process.ts";
import type { ClientTask, Plant } from "./client-task.ts";
import type { ClientFile } from "./history.js";
import type { ChaosServer, Connected, Kind } from "./kind.ts";
import { library } from "./library.ts";
import type { Resources } from "./resources.ts";

/** What a phase is made of. */
export interface StagePlan {
  readonly kinds: readonly Kind[];
  readonly quorum: number;
  readonly clients: number;
  readonly seed: number;
  /** Where histories go, with a name for this phase. */
  readonly folder: string;
  readonly keys: readonly string[];
  readonly faketime: Faketime | undefined;
  readonly plant: Plant | undefined;
  readonly resources: Resources;
}

/** A backend with the links to it. */
export interface Seat {
  readonly index: number;
  readonly kind: Kind;
  readonly server: ChaosServer;
  /** Whether it votes, or has been told of the deployment since it forgot last; false when it does not answer. */
  remembers(): Promise<boolean>;
}

export interface Stage {
  readonly seats: readonly Seat[];
  readonly quorum: number;
  /** By client, then by backend. */
  readonly links: readonly (readonly TcpProxy[])[];
  client(index: number): ClientProcess;
  readonly clients: number;
  /** Kills a client's process and starts another in its place. */
  replaceClient(index: number): Promise<void>;
  /** Ends the clients and says where their histories are. */
  endClients(): Promise<readonly ClientFile[]>;
  /** Stops everything that is left. */
  stop(): Promise<void>;
}

/** Small enough that many losses of memory fit into a run; every backend that forgot is out for a little more. */
export const MAX_TTL_MS = 2_000;
export const CLOCK_SKEW_MS = 100;
const STATUS_MS_MAX = 500;
const USUAL = { ttlMs: { min: 400, max: MAX_TTL_MS }, holdMs: 35 };
const LONG = { ttlMs: { min: MAX_TTL_MS, max: MAX_TTL_MS }, holdMs: 1_500 };
const IDLE_MS = 30;

export async function startStage(plan: StagePlan): Promise<Stage> {
  const closing: (() => Promise<unknown> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closing.splice(0).toReversed()) await close();
  };
  try {
    const servers = await startServers(plan, closing);
    const seats = await seatsOf(plan, servers, closing);
    const links = await linksOf(plan, servers, closing);
    const clients: ClientProcess[] = [];
    const ended: ClientFile[] = [];
    closing.push(() => Promise.all(clients.map((client) => client.kill())));
    let made = 0;
    const start = (index: number): Promise<ClientProcess> => {
      const name = `c${index}.${++made}`;
      return startClient(taskOf(plan, { index, name, made, links: links[index] ?? [] }));
    };
    clients.push(...(await Promise.all(links.map((_, index) => start(index)))));
    return {
      seats,
      quorum: plan.quorum,
      links,
      clients: clients.length,
      client: (index) => clients[index] as ClientProcess,
      async replaceClient(index) {
        const old = clients[index] as ClientProcess;
        await old.kill();
        ended.push(old.file());
        clients[index] = await start(index);
      },
      async endClients() {
        await Promise.all(clients.map((client) => client.end()));
        return [...ended, ...clients.map((client) => client.file())];
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

type Closing = (() => Promise<unknown> | void)[];

async function startServers(
  { kinds, faketime }: StagePlan,
  closing: Closing,
): Promise<readonly ChaosServer[]> {
  const starts = await Promise.allSettled(
    kinds.map(async (kind) => {
      const server = await kind.start({ faketime });
      closing.push(() => server.stop());
      return server;
    }),
  );
  const failed = starts.find((each) => each.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return starts.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
}

/** Each with a session of our own past all proxies. */
async function seatsOf(
  plan: StagePlan,
  servers: readonly ChaosServer[],
  closing: Closing,
): Promise<readonly Seat[]> {
  const { resolveOptions } = await library<typeof Options>("options.js");
  const connected: Connected[] = [];
  for (const [index, { port }] of servers.entries()) {
    const each = await (plan.kinds[index] as Kind).connect({ port, name: `backend-${index}` });
    closing.push(() => each.close());
    connected.push(each);
  }
  const options = {
    ...lockerOf(plan),
    backends: connected.map(({ backend }) => backend),
    ...(plan.plant === "restart-guard-off" ? { restartGuard: "off" as const } : {}),
  };
  const { deployment } = resolveOptions(options);
  return servers.map((server, index): Seat => {
    let session: BackendSession | undefined;
    return {
      index,
      kind: plan.kinds[index] as Kind,
      server,
      async remembers() {
        session ??= connected[index]?.backend.open(deployment);
        const status = await Promise.race([
          session?.status().catch(() => undefined),
          new Promise<undefined>((resolve) => setTimeout(resolve, STATUS_MS_MAX, undefined)),
        ]);
        return status?.kind === "in-service" || (status?.kind === "quarantined" && status.joined);
      },
    };
  });
}

async function linksOf(
  plan: StagePlan,
  servers: readonly ChaosServer[],
  closing: Closing,
): Promise<readonly (readonly TcpProxy[])[]> {
  const links: TcpProxy[][] = [];
  for (let client = 0; client < plan.clients; client++) {
    const own: TcpProxy[] = [];
    for (const { port } of servers) {
      const proxy = await startTcpProxy({ targetPort: port });
      closing.push(() => proxy.close());
      own.push(proxy);
    }
    links.push(own);
  }
  return links;
}

function lockerOf(plan: StagePlan): ClientTask["locker"] {
  return { quorum: plan.quorum, maxTtlMs: MAX_TTL_MS, clockSkewMs: CLOCK_SKEW_MS, retryDelayMsMax: 60 };
}

function taskOf(
  plan: StagePlan,
  of: {
    readonly index: number;
    readonly name: string;
    readonly made: number;
    readonly links: readonly TcpProxy[];
  },
): Omit<ClientTask, "control"> {
  const { resources } = plan;
  return {
    name: of.name,
    index: of.index,
    seed: plan.seed + 1_000 * of.made,
    history: `${plan.folder}/${of.name}.jsonl`,
    links: of.links.map(({ port }, index) => ({
      kind: (plan.kinds[index] as Kind).name,
      name: `backend-${index}`,
      port,
    })),
    locker: lockerOf(plan),
    keys: plan.keys,
    // What is to be forgotten under its holder must be held for longer than server and clients take to come back.
    ...(plan.plant === "restart-guard-off" ? LONG : USUAL),
    idleMs: IDLE_MS,
    resources: { postgresUrl: resources.postgresUrl, redisPort: resources.redisPort },
    plant: plan.plant,
  };
}

const IN_SERVICE_MS_MAX = 20_000;

/** Resolves when every backend is in service: the clients have started the deployment. */
export async function untilInService({ seats }: Stage): Promise<void> {
  await waitUntil({ what: "every backend in service", timeoutMs: IN_SERVICE_MS_MAX }, async () =>
    (await Promise.all(seats.map((seat) => seat.remembers()))).every(Boolean),
  );
}
