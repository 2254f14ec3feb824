/**
 * How a world ends, after all faults have: everybody gives back and closes and nothing may be left, or a newcomer must get
 * every lock. Generators of the module, not of each world: a generator that is made in a closure keeps that closure's world in
 * memory until the next full collection, which costs more than the world did.
 */
import { getEventListeners } from "node:events";
import type { Deployment } from "../../src/backend.js";
import type { Locker } from "../../src/index.js";
import { createClient, type Client, type Surroundings } from "./client.js";
import type { Running } from "./drain.js";
import type { LastAcquireRecord } from "./history.js";
import type { Kernel } from "./kernel.js";
import type { Plan } from "./plan.js";
import type { Server } from "./server.js";

/** What a world has when its faults are over. */
export interface Stage {
  readonly kernel: Kernel;
  readonly plan: Plan;
  readonly servers: readonly Server[];
  /** Those that live; edited in place. */
  readonly clients: Client[];
  readonly deployment: Deployment;
  readonly surroundings: Surroundings;
  readonly leaks: string[];
  readonly lastAcquires: LastAcquireRecord[];
  readonly phase: (text: string) => void;
}

/** More than any world needs to come to rest. */
export const REST_MS = 4_000;

/** Until no worker works and no process sleeps. */
export function* rest({ kernel, clients, leaks }: Stage): Running<void> {
  yield kernel.until(kernel.nowMs + REST_MS, () => clients.every((client) => client.working() === 0));
  const working = clients.filter((client) => client.working() > 0);
  for (const { process } of working) leaks.push(`a worker of ${process.name} still waits`);
}

export function* closeAll(stage: Stage): Running<void> {
  const { kernel, clients, leaks, phase } = stage;
  phase("all lockers are closed");
  let closing = 0;
  for (const client of clients) {
    closing++;
    void client.close().then(() => closing--);
  }
  yield kernel.until(kernel.nowMs + REST_MS, () => closing === 0);
  if (closing > 0) leaks.push(`${closing} clients did not close`);
  yield* rest(stage);
  // What a closed locker still waits for has a bound.
  yield kernel.until(kernel.nowMs + REST_MS, () => clients.every(({ process }) => process.timers() === 0));
  for (const client of clients) leftovers(client, leaks);
}

function leftovers(client: Client, leaks: string[]): void {
  const { process } = client;
  if (process.timers() > 0) leaks.push(`${process.timers()} timers of ${process.name} are left`);
  for (const signal of client.signals) {
    const listeners = getEventListeners(signal, "abort").length;
    if (listeners > 0) leaks.push(`${listeners} listeners are left on a signal of ${process.name}`);
  }
}

/** Locks of attempts and leases that are over, older than the network takes to settle. */
export function* lookForGhosts({ kernel, plan, servers, deployment, leaks }: Stage): Running<void> {
  let looking = servers.length * plan.keys.length;
  for (const server of servers) {
    for (const key of plan.keys) {
      void server
        .inspector(deployment)
        .inspect(key)
        .then(({ lock }) => {
          looking--;
          if (lock === undefined) return;
          leaks.push(
            `${server.name} still holds ${key} for ${lock.owner}, which is over, for ${lock.remainingMs.toFixed(0)} ms`,
          );
        });
    }
  }
  yield kernel.until(kernel.nowMs + 1, () => looking === 0);
}

/** All is well again, but for a minority that is down; a newcomer must get every lock. */
export function* lastPhase(stage: Stage): Running<void> {
  const { kernel, plan, servers, clients, deployment, phase, surroundings } = stage;
  let known: boolean | undefined;
  void isRemembered(servers, deployment).then((remembered) => {
    known = remembered;
  });
  yield kernel.until(kernel.nowMs + 1, () => known !== undefined);
  // Under "auto" a deployment that nobody ever started needs all of its backends.
  if (known === true || plan.guard !== "auto") {
    const down = plan.n - deployment.quorum;
    for (const server of servers.slice(plan.n - down)) server.down(Number.MAX_SAFE_INTEGER);
    phase(`${down} backends go down, a newcomer tries`);
  }
  const newcomer = createClient(surroundings, "newcomer", {
    clocks: plan.clients[0]?.clocks ?? { ratePpm: 0, wallOffsetMs: 0 },
    ttlMs: undefined,
    workers: [0],
    retryDelayMs: [60, 400],
  });
  clients.splice(0, clients.length, newcomer);
  const [locker] = newcomer.lockers;
  if (locker === undefined) return;
  const rho = plan.driftPpm / 1e6;
  const boundMs = Math.ceil(((plan.maxTtlMs + 2 * plan.clockSkewMs + 10) * (1 + rho)) / (1 - rho)) + 1_500;
  for (const key of plan.keys) yield* lastAcquire(stage, locker, { key, boundMs });
  yield* closeAll(stage);
}

function* lastAcquire(
  { kernel, plan, lastAcquires }: Stage,
  locker: Locker,
  { key, boundMs }: { readonly key: string; readonly boundMs: number },
): Running<void> {
  const startedAtMs = kernel.nowMs;
  let error: string | undefined = "nothing came of it";
  let settled = false;
  void locker.acquire(key, { waitMs: boundMs, ttlMs: plan.maxTtlMs }).then(
    async (lease) => {
      error = undefined;
      settled = true;
      await lease.release();
    },
    (failure: unknown) => {
      error = String(failure);
      settled = true;
    },
  );
  yield kernel.until(kernel.nowMs + 2 * boundMs, () => settled);
  lastAcquires.push({ key, waitedMs: kernel.nowMs - startedAtMs, boundMs, error });
  yield kernel.until(kernel.nowMs + 20);
}

/** Whether a backend other than `but` remembers that the deployment exists. */
export async function isRemembered(
  servers: readonly Server[],
  deployment: Deployment,
  but?: Server,
): Promise<boolean> {
  const statuses = await Promise.all(
    servers.filter((server) => server !== but).map((server) => server.inspector(deployment).status()),
  );
  return statuses.some((status) => status.kind === "in-service" || status.joined);
}
