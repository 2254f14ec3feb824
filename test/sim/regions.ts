/**
 * Locks over a planet: servers in several regions, a client in each, and round trips between them as a cloud measures them.
 * The production locker in virtual time, like the worlds beside it, but it asks how long things take instead of whether they
 * are right. Faults are regions that are cut off. The same options give the same figures.
 */
import type { Backend, BackendSession, Deployment } from "../../src/backend.js";
import { BackendError } from "../../src/errors.js";
import { createLocker, type Locker } from "../../src/index.js";
import { ownerHash } from "../../src/lock/events.js";
import type { Running } from "./drain.js";
import { createKernel, type Dice, type Kernel } from "./kernel.js";
import { createSimProcess } from "./process.js";
import { createServer, type Outcome, type Server } from "./server.js";

/** The regions there are, of Amazon's cloud. */
export type Region = keyof typeof ROUND_TRIP_MS;

const VIRGINIA = "us-east-1";
const OREGON = "us-west-2";
const IRELAND = "eu-west-1";
const TOKYO = "ap-northeast-1";
const SINGAPORE = "ap-southeast-1";
const FRANKFURT = "eu-central-1";
const SYDNEY = "ap-southeast-2";

/**
 * Round trips in milliseconds: **inputs**. Averages of both directions between Amazon's regions as measured and published in
 * 2017 ("Latency Between AWS Global Regions"); of later years some are shorter by up to a fifth. Within a region: ours.
 */
export const ROUND_TRIP_MS = {
  [VIRGINIA]: {
    [OREGON]: 87.8,
    [IRELAND]: 80.5,
    [TOKYO]: 145.3,
    [SINGAPORE]: 216.7,
    [FRANKFURT]: 88.6,
    [SYDNEY]: 229.9,
  },
  [OREGON]: { [IRELAND]: 137, [TOKYO]: 89.1, [SINGAPORE]: 161.4, [FRANKFURT]: 159.5, [SYDNEY]: 162.1 },
  [IRELAND]: { [TOKYO]: 212.4, [SINGAPORE]: 238.6, [FRANKFURT]: 19.6, [SYDNEY]: 309.6 },
  [TOKYO]: { [SINGAPORE]: 73.8, [FRANKFURT]: 236.6, [SYDNEY]: 103.9 },
  [SINGAPORE]: { [FRANKFURT]: 325.9, [SYDNEY]: 175.4 },
  [FRANKFURT]: { [SYDNEY]: 323.4 },
  [SYDNEY]: {},
} as const;

/** Within a region, between two of its zones. */
export const LOCAL_ROUND_TRIP_MS = 1;

/** Where servers stand, by how many there are: each row is the one before and two more. */
export const PLACEMENTS: { readonly [N in 3 | 5 | 7]: readonly Region[] } = {
  3: [VIRGINIA, OREGON, IRELAND],
  5: [VIRGINIA, OREGON, IRELAND, TOKYO, SINGAPORE],
  7: [VIRGINIA, OREGON, IRELAND, TOKYO, SINGAPORE, FRANKFURT, SYDNEY],
};

/** Where clients are, whatever the placement. */
export const CLIENTS: readonly Region[] = PLACEMENTS[5];

/** The round trip between two regions, in milliseconds. */
export function roundTripMs(a: Region, b: Region): number {
  const table: { readonly [From in Region]: { readonly [To in Region]?: number } } = ROUND_TRIP_MS;
  return a === b ? LOCAL_ROUND_TRIP_MS : (table[a][b] ?? table[b][a] ?? Number.NaN);
}

/** What an acquire of a free key takes without jitter: the round trip to the q-th nearest server. */
export function nearestQuorumMs(client: Region, servers: readonly Region[]): number {
  const trips = servers.map((server) => roundTripMs(client, server)).sort((a, b) => a - b);
  return trips[Math.floor(servers.length / 2)] ?? Number.NaN;
}

/** How messages vary. Drawn for every message anew. */
export interface Jitter {
  /** A hop takes its half of the round trip and up to this share more, evenly. */
  readonly share: number;
  /** So many of all messages are lost once and sent again, and take a round trip more. */
  readonly resent: number;
}

export const NO_JITTER: Jitter = { share: 0, resent: 0 };
/** An input, too: what makes a p99. */
export const USUAL_JITTER: Jitter = { share: 0.05, resent: 0.005 };

/** Options of a run. */
export interface RegionsOptions {
  readonly servers: readonly Region[];
  readonly clients: readonly Region[];
  readonly seed: number;
  readonly jitter: Jitter;
  /** Cut off from everybody outside, each by itself, once the deployment runs. Default none. */
  readonly cut?: readonly Region[];
}

/** What one client saw of keys that nobody else wants. */
export interface Uncontended {
  readonly client: Region;
  readonly tried: number;
  /** Milliseconds from the call to the lease, sorted; of those that were granted. */
  readonly acquireMs: readonly number[];
  /** Won in one round trip. */
  readonly fast: number;
}

/** What came of everybody wanting one key. */
export interface Contended {
  readonly holds: number;
  readonly forMs: number;
  readonly fast: number;
  readonly attempts: number;
  /** Milliseconds from giving it back to the next holder's having it, or from the next one's asking for it if that is later; sorted. */
  readonly handOverMs: readonly number[];
  /** By client, in the order of the options. */
  readonly holdsOf: readonly number[];
}

const TTL_MS = 10_000;
/** A connection that owes an answer for so long is replaced. */
const CONNECTION_MS = 5_000;
const SEED_OF_REGIONS = 9_000_000;
const LIMIT_MS = 86_400_000;

interface Tried {
  readonly client: Region;
  tried: number;
  readonly acquireMs: number[];
  fast: number;
}

interface World {
  readonly kernel: Kernel;
  readonly clients: readonly WorldClient[];
}

interface WorldClient {
  readonly region: Region;
  readonly locker: Locker;
  readonly dice: Dice;
  /** Attempts and round trips of the lease won last. */
  won(): { readonly attempts: number; readonly fast: boolean };
}

/** Every client takes and gives back keys of its own, one after the other, so many times. */
export function* runUncontended(options: RegionsOptions, cycles: number): Running<readonly Uncontended[]> {
  const world = yield* open(options);
  const seen = world.clients.map(({ region }): Tried => ({
    client: region,
    tried: 0,
    acquireMs: [],
    fast: 0,
  }));
  yield* settle(
    world,
    world.clients.map(async (client, i) => {
      const mine = seen[i];
      if (mine === undefined) return;
      for (; mine.tried < cycles; mine.tried++) {
        const calledAtMs = world.kernel.nowMs;
        const lease = await client.locker.tryAcquire(`${client.region}:${mine.tried}`);
        if (!lease.acquired) continue;
        mine.acquireMs.push(world.kernel.nowMs - calledAtMs);
        if (client.won().fast) mine.fast++;
        await lease.release();
      }
    }),
  );
  return seen.map((each) => ({ ...each, acquireMs: each.acquireMs.sort((a, b) => a - b) }));
}

/** Every client wants the same key again and again, holds it for `holdMs`, and pauses up to `pauseMs`. */
export function* runContended(
  options: RegionsOptions,
  work: { readonly holdMs: number; readonly pauseMs: number; readonly forMs: number },
): Running<Contended> {
  const world = yield* open(options);
  const { kernel } = world;
  const endMs = kernel.nowMs + work.forMs;
  const handOverMs: number[] = [];
  const holdsOf = world.clients.map(() => 0);
  let fast = 0;
  let attempts = 0;
  let holders = 0;
  let freedAtMs: number | undefined;
  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      kernel.plan(kernel.nowMs + ms, resolve);
    });
  yield* settle(
    world,
    world.clients.map(async (client, i) => {
      for (;;) {
        await sleep(client.dice.between(0, work.pauseMs));
        if (kernel.nowMs >= endMs) return;
        const calledAtMs = kernel.nowMs;
        const lease = await client.locker.acquire("the key of all", { waitMs: 10 * TTL_MS });
        if (freedAtMs !== undefined) handOverMs.push(kernel.nowMs - Math.max(freedAtMs, calledAtMs));
        holdsOf[i] = (holdsOf[i] ?? 0) + 1;
        if (++holders > 1) throw new RangeError("two regions hold the key at once");
        const won = client.won();
        attempts += won.attempts;
        if (won.fast) fast++;
        await sleep(work.holdMs);
        holders--;
        freedAtMs = kernel.nowMs;
        await lease.release();
      }
    }),
  );
  const holds = holdsOf.reduce((sum, each) => sum + each, 0);
  return { holds, forMs: work.forMs, fast, attempts, handOverMs: handOverMs.sort((a, b) => a - b), holdsOf };
}

/** A world whose deployment is in service and known to every client, with the regions cut off that are to be. */
function* open({ servers: places, clients: homes, seed, jitter, cut = [] }: RegionsOptions): Running<World> {
  const kernel = createKernel(seed + SEED_OF_REGIONS);
  const dice = kernel.dice();
  const exact = { ratePpm: 0, wallOffsetMs: 0 };
  let incarnations = 0;
  let isCut = false;
  const servers = places.map((_, index) =>
    createServer(kernel, {
      index,
      clocks: exact,
      leap: { chance: 0, leapMs: 0 },
      nature: { grainMs: 0, durable: true },
      incarnation: () => `memory-${++incarnations}`,
    }),
  );
  const clients = homes.map((region, i): WorldClient => {
    const process = createSimProcess(kernel, `${region}#${i + 1}`, exact);
    const raised = new Set<string>();
    const backends = servers.map((server, index) => {
      const place = places[index] ?? region;
      return wire(kernel, {
        server,
        hopMs: () => hopMs(dice, jitter, roundTripMs(region, place)),
        isCut: () => isCut && region !== place && (cut.includes(region) || cut.includes(place)),
        raises: (owner) => raised.add(ownerHash(owner)),
      });
    });
    const locker = createLocker({ backends, system: process.system, ttlMs: TTL_MS });
    let last = { attempts: 0, fast: false };
    locker.on("acquired", ({ attempts, ownerHash }) => {
      last = { attempts, fast: !raised.has(ownerHash) };
      raised.clear();
    });
    return { region, locker, dice: kernel.dice(), won: () => last };
  });
  const world: World = { kernel, clients };
  yield* settle(
    world,
    clients.map(async ({ locker, region }) => {
      await (await locker.acquire(`${region}:start`, { waitMs: TTL_MS })).release();
    }),
  );
  isCut = true;
  return world;
}

/** Lets the world go on until all work is done. */
function* settle({ kernel }: World, work: readonly Promise<unknown>[]): Running<void> {
  let over = false;
  let failure: unknown;
  void Promise.all(work)
    .catch((error: unknown) => {
      failure = error;
    })
    .finally(() => {
      over = true;
    });
  yield* kernel.run(kernel.nowMs + LIMIT_MS, () => over);
  if (failure !== undefined) throw failure as Error;
  if (!over) throw new RangeError(`the regions do not come to an end within ${LIMIT_MS} ms`);
}

function hopMs(dice: Dice, { share, resent }: Jitter, tripMs: number): number {
  const again = resent > 0 && dice.chance(resent) ? tripMs : 0;
  return again + (tripMs / 2) * (1 + (share > 0 ? dice.between(0, share) : 0));
}

interface Wire {
  readonly server: Server;
  readonly hopMs: () => number;
  readonly isCut: () => boolean;
  readonly raises: (owner: string) => void;
}

/** A backend behind one connection, on which no message overtakes another. */
function wire(kernel: Kernel, { server, hopMs, isCut, raises }: Wire): Backend {
  return {
    kind: "memory",
    name: server.name,
    capabilities: server.capabilities,
    client: {},
    open(deployment: Deployment): BackendSession {
      const remote = server.open(deployment);
      const there = inOrder(kernel, hopMs);
      const back = inOrder(kernel, hopMs);
      const calls = inOrder(kernel, hopMs);
      let closed = false;

      function send(operation: string, args: readonly unknown[]): Promise<unknown> {
        if (operation === "raise") raises((args[0] as { readonly owner: string }).owner);
        return new Promise((resolve, reject) => {
          const what = "no answer; connection replaced";
          const error = new BackendError("BACKEND_DISCONNECTED", { backend: server.name, what });
          const timeout = kernel.plan(kernel.nowMs + CONNECTION_MS, () => reject(error));
          if (isCut()) return;
          there(() => {
            remote.execute(
              (session) => {
                const method: unknown = Reflect.get(session, operation);
                return Reflect.apply(method as () => Promise<unknown>, session, args);
              },
              (outcome: Outcome) => {
                if (isCut()) return;
                back(() => {
                  timeout.run = undefined;
                  if (outcome.error !== undefined) reject(outcome.error);
                  else resolve(outcome.value);
                });
              },
            );
          });
        });
      }

      const session: Record<string, unknown> = {};
      for (const operation of Object.keys(server.inspector(deployment))) {
        session[operation] = (...args: unknown[]) => send(operation, args);
      }
      session["watch"] = (listener: (ticket: string, inMs: number) => void): (() => void) => {
        let stopped = false;
        remote.watch((ticket, inMs) => {
          if (isCut()) return;
          calls(() => {
            if (!stopped && !closed) listener(ticket, inMs);
          });
        });
        return () => {
          stopped = true;
        };
      };
      session["close"] = async (): Promise<void> => {
        closed = true;
      };
      return session as unknown as BackendSession;
    },
  };
}

/** One direction of a connection. */
function inOrder(kernel: Kernel, hopMs: () => number): (arrive: () => void) => void {
  let lastMs = 0;
  return (arrive) => {
    lastMs = Math.max(lastMs, kernel.nowMs + hopMs());
    kernel.plan(lastMs, arrive);
  };
}
