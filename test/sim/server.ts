/**
 * One backend's server: the production memory adapter in a process that can crash, forget, hang, be slow, refuse, and
 * be replaced by a replica for a while. Decides when a request that arrived is executed, and by which memory.
 */
import { memory, type MemoryBackend, type MemoryClock } from "../../src/adapters/memory.js";
import type { BackendSession, Capabilities, Deployment } from "../../src/backend.js";
import { BackendError } from "../../src/errors.js";
import type { Happening } from "./agenda.js";
import type { Dice, Kernel } from "./kernel.js";
import type { Nature } from "./plan.js";
import { EPOCH_MS, steps, type Clocks } from "./process.js";

/** Any operation of a session but its close, whatever operations there are. */
export interface Call {
  readonly operation: string;
  readonly args: readonly unknown[];
}

/** The session of one connection, at whichever memory answers now. */
export interface ServerSession {
  /** Names the connection; unique in the world. */
  readonly name: string;
  /** Has the call executed when the server comes to it; never if the server dies before. */
  execute(call: Call, answer: (outcome: Outcome) => void): void;
  /** Hears the calls of whichever memory answers, while the server is up and not stopped. */
  watch(listener: (ticket: string, inMs: number) => void): void;
}

/** What an executed call came to. */
export type Outcome =
  { readonly value: unknown; readonly error?: never } | { readonly error: Error; readonly value?: never };

/** A server. */
export interface Server {
  readonly index: number;
  readonly name: string;
  readonly capabilities: Capabilities;
  /** Whether it accepts connections. */
  isUp(): boolean;
  open(deployment: Deployment): ServerSession;
  /** Whoever listens is told when all connections break. */
  onDeath(listener: () => void): void;
  /** All connections break; up again after `forMs`. */
  down(forMs: number): void;
  restart(memoryIs: "lost" | "kept", forMs: number): void;
  failover(forMs: number): void;
  freeze(forMs: number): void;
  slow(ms: number, forMs: number): void;
  refuse(forMs: number): void;
  /** Its clock leaps ahead by more than the longest TTL: every lock there has ended. */
  leap(): void;
  /** Runs on, up, awake and fast. */
  heal(): void;
  /** A session past all faults, for whoever judges. */
  inspector(deployment: Deployment): BackendSession;
  /** Names what it remembers by now. */
  memoryName(): string;
}

/** How a server's clock is wrong beyond its rate. */
export interface ServerOptions {
  readonly index: number;
  readonly clocks: Clocks;
  /** Its clock leaps ahead at one look in so many by up to `leapMs`; 0 for never. */
  readonly leap: { readonly chance: number; readonly leapMs: number };
  readonly nature: Pick<Nature, "grainMs" | "durable">;
  readonly incarnation: () => string;
  /** It calls a ticket of that connection. */
  readonly onCall?: (
    memory: string,
    connection: string,
    call: { readonly ticket: string; readonly inMs: number },
  ) => void;
}

const LOADING = "it is still loading its data";
const ZERO_MS_MAX = 1_000_000;

/** A server that runs. */
export function createServer(kernel: Kernel, options: ServerOptions): Server {
  const dice = kernel.dice();
  const name = `b${options.index + 1}`;
  const clock = createServerClock(kernel, dice, options);
  const make = (): MemoryBackend => memory({ name, clock, newIncarnation: options.incarnation });
  const { grainMs, durable } = options.nature;
  const primary = make();
  let replica: MemoryBackend | undefined;
  let serving = primary;
  const listeners: (() => void)[] = [];
  let up = true;
  /** Counts ups and downs, so that only the last planned one counts. */
  let outages = 0;
  let reigns = 0;
  let frozenUntilMs = 0;
  let slowUntilMs = 0;
  let slowMs = 0;
  /** What has arrived and was not executed, in the order of arrival. */
  const queue: (() => void)[] = [];
  let busy: Happening | undefined;
  let refusesUntilMs = 0;
  let loading: BackendError | undefined;
  let connections = 0;
  let memories = 0;
  /** What each of the two remembers by, by a name. */
  const memoryNames = new Map<MemoryBackend, string>();
  const inspectors = new Map<MemoryBackend, BackendSession>();

  function die(forMs: number): void {
    up = false;
    frozenUntilMs = 0;
    queue.length = 0;
    const outage = ++outages;
    kernel.plan(kernel.nowMs + forMs, () => {
      if (outage === outages) up = true;
    });
    for (const listener of listeners) listener();
  }

  function forget(which: MemoryBackend): void {
    memoryNames.set(which, `${name}/${++memories}`);
  }

  function isIdle(): boolean {
    return frozenUntilMs <= kernel.nowMs && (slowUntilMs <= kernel.nowMs || slowMs === 0);
  }

  /** Executes what waits, one after the other, unless it is stopped; each takes its time when it is slow. */
  function work(): void {
    if (busy !== undefined) return;
    while (queue.length > 0) {
      const takesMs = slowUntilMs > kernel.nowMs ? slowMs : 0;
      const atMs = Math.max(kernel.nowMs + takesMs, frozenUntilMs);
      if (atMs > kernel.nowMs) {
        busy = kernel.plan(atMs, () => {
          busy = undefined;
          if (frozenUntilMs <= kernel.nowMs) queue.shift()?.();
          work();
        });
        return;
      }
      queue.shift()?.();
    }
  }

  return {
    index: options.index,
    name,
    capabilities: { ...primary.capabilities, durable, earlyByMs: grainMs, lateByMs: grainMs },
    isUp: () => up,
    memoryName: () => memoryNames.get(serving) ?? name,
    open(deployment: Deployment): ServerSession {
      const sessions = new Map<MemoryBackend, BackendSession>();
      const connection = `${name}:${++connections}`;
      const watchers: ((ticket: string, inMs: number) => void)[] = [];
      const current = (): BackendSession => {
        const known = sessions.get(serving);
        if (known !== undefined) return known;
        const memoryOfNow = serving;
        const opened = memoryOfNow.open(deployment);
        opened.watch?.((ticket, inMs) => {
          options.onCall?.(memoryNames.get(memoryOfNow) ?? name, connection, { ticket, inMs });
          if (!up || frozenUntilMs > kernel.nowMs || serving !== memoryOfNow) return;
          for (const watcher of watchers) watcher(ticket, inMs);
        });
        sessions.set(memoryOfNow, opened);
        return opened;
      };
      function run({ operation, args }: Call, answer: (outcome: Outcome) => void): void {
        if (refusesUntilMs > kernel.nowMs) {
          answer({
            error: (loading ??= new BackendError("BACKEND_LOADING", { backend: name, what: LOADING })),
          });
          return;
        }
        const execute = Reflect.get(current(), operation) as (
          ...given: readonly unknown[]
        ) => Promise<unknown>;
        execute(...args).then(
          (value) => answer({ value }),
          (error: Error) => answer({ error }),
        );
      }
      return {
        name: connection,
        watch: (listener) => void watchers.push(listener),
        execute(call: Call, answer: (outcome: Outcome) => void): void {
          if (queue.length === 0 && busy === undefined && isIdle()) run(call, answer);
          else {
            queue.push(() => run(call, answer));
            work();
          }
        },
      };
    },
    onDeath(listener: () => void): void {
      listeners.push(listener);
    },
    down: die,
    restart(memoryIs: "lost" | "kept", forMs: number): void {
      if (memoryIs === "lost") forget(serving);
      if (memoryIs === "lost" || !durable) serving.restart(memoryIs);
      die(forMs);
    },
    failover(forMs: number): void {
      if (serving !== primary) return;
      die(1);
      replica ??= make();
      forget(replica);
      replica.restart("lost");
      serving = replica;
      const reign = ++reigns;
      kernel.plan(kernel.nowMs + forMs, () => {
        if (reign !== reigns) return;
        primary.restart("kept");
        serving = primary;
        die(1);
      });
    },
    freeze(forMs: number): void {
      frozenUntilMs = Math.max(frozenUntilMs, kernel.nowMs + forMs);
    },
    slow(ms: number, forMs: number): void {
      slowMs = ms;
      slowUntilMs = kernel.nowMs + forMs;
    },
    refuse(forMs: number): void {
      refusesUntilMs = kernel.nowMs + forMs;
    },
    leap: () => clock.leap(),
    heal(): void {
      up = true;
      outages++;
      reigns++;
      frozenUntilMs = 0;
      slowUntilMs = 0;
      refusesUntilMs = 0;
      if (busy !== undefined) busy.run = undefined;
      busy = undefined;
      work();
    },
    inspector(deployment: Deployment): BackendSession {
      const session = inspectors.get(serving) ?? serving.open(deployment);
      inspectors.set(serving, session);
      return session;
    },
  };
}

function createServerClock(
  kernel: Kernel,
  dice: Dice,
  options: ServerOptions,
): MemoryClock & { leap(): void } {
  const ratio = 1 + options.clocks.ratePpm / 1e6;
  const zero = Math.floor(dice.random() * ZERO_MS_MAX);
  const { chance, leapMs } = options.leap;
  let aheadMs = 0;
  return {
    nowMs(): number {
      if (chance > 0 && dice.chance(chance)) aheadMs += dice.random() * leapMs;
      const readingMs = zero + kernel.nowMs * ratio + aheadMs;
      const { grainMs } = options.nature;
      return grainMs === 0 ? readingMs : Math.floor(readingMs / grainMs) * grainMs;
    },
    wallMicros(): bigint {
      const { wallOffsetMs, wallStepMs } = options.clocks;
      return BigInt(Math.floor((steps(EPOCH_MS + kernel.nowMs, wallStepMs) + wallOffsetMs) * 1000));
    },
    leap(): void {
      aheadMs += 2 * leapMs;
    },
  };
}
