/**
 * The network between clients and servers. A path is that between one client and one server; every locker of the client has
 * a connection of its own over it. Works on whatever operations a session has, and holds no promise but the one that its
 * caller waits for.
 */
import type { AcquireReply, AcquireRequest, Backend, BackendSession, Deployment } from "../../src/backend.js";
import { BackendError } from "../../src/errors.js";
import type { Happening } from "./agenda.js";
import type { Dice, Kernel } from "./kernel.js";
import type { Caller, LineLog } from "./line-log.js";
import type { SimProcess } from "./process.js";
import type { Outcome, Server } from "./server.js";

/** What becomes of messages between one client and one server. */
export interface Path {
  delay(ms: number, forMs: number): void;
  late(ms: number, forMs: number): void;
  lossy(rate: number, forMs: number): void;
  duplicate(rate: number, afterMs: number, forMs: number): void;
  cut(what: "requests" | "replies" | "both", forMs: number): void;
  halfOpen(forMs: number): void;
  reset(): void;
  heal(): void;
  /** A backend of a new locker in that client, over this path. */
  connect(locker: string): Backend;
}

/** What the world wants to know of requests. */
export interface Watcher {
  /** A request leaves its client. */
  sent(operation: string, args: readonly unknown[]): void;
  /** A request will be executed once more, whoever hears of that. */
  doubled(operation: string, args: readonly unknown[]): void;
  /** A server granted an acquire, whoever hears of that. */
  granted(owner: string): void;
  /** A server answered an acquire, and the client knows. */
  answered(server: Server, owner: string, kind: string): void;
}

/** What the network does to the requests of one operation, beyond what it does to all. */
export interface Adversity {
  /** On how many of the paths, from 0 to 1. Default: on all of them. */
  readonly paths?: number;
  /** On one path of each client, wherever that leads. */
  readonly onePath?: true;
  /** Their fastest hop, instead of the ordinary one. */
  readonly hopMsMin?: number;
  /** Their slowest hop, instead of the ordinary one. */
  readonly hopMsMax?: number;
  /** How many get lost, from 0 to 1. */
  readonly lost?: number;
  /** How often the clock of the server leaps ahead just before one of them is executed, from 0 to 1. */
  readonly leaps?: number;
}

/** The usual way of a path. */
export interface PathOptions {
  readonly process: SimProcess;
  readonly server: Server;
  readonly hopMsMax: number;
  /** Messages of a connection never overtake one another, as on TCP. */
  readonly inOrder: boolean;
  /** The backend calls those who wait. */
  readonly calls: boolean;
  /** By the name of the operation. */
  readonly adversity: Readonly<Record<string, Adversity>>;
  /** What a dead server had not executed is executed by the next one, as by a proxy or a driver that sends it again. */
  readonly resent: boolean;
  readonly watcher: Watcher;
  readonly line: LineLog;
}

/** A connection that owes an answer for so long is replaced; as the socketTimeout of a real client. */
const CONNECTION_MS = 300;
const HOP_MS_MIN = 0.5;

interface Pending {
  readonly operation: string;
  readonly args: readonly unknown[];
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  timeout: Happening | undefined;
  settled: boolean;
}

/** Sends a request; what a session does with every operation that travels. */
type Send = (operation: string, args: readonly unknown[]) => Promise<unknown>;

/** A session at the client's end. Operations are methods of the prototype, whatever operations there are: there are many sessions. */
class RemoteSession {
  readonly send: Send;
  readonly close: () => Promise<void>;
  readonly watch?: BackendSession["watch"];

  constructor(send: Send, close: () => Promise<void>, watch: BackendSession["watch"]) {
    this.send = send;
    this.close = close;
    if (watch !== undefined) this.watch = watch;
  }
}

const STAYS_HERE: ReadonlySet<string> = new Set(["close", "watch"]);
let isComplete = false;

/** Gives {@link RemoteSession} every operation that a backend's session has. */
function complete(likeThis: BackendSession): void {
  if (isComplete) return;
  isComplete = true;
  for (const operation of Object.keys(likeThis)) {
    if (STAYS_HERE.has(operation)) continue;
    Reflect.set(
      RemoteSession.prototype,
      operation,
      function (this: RemoteSession, ...args: unknown[]): Promise<unknown> {
        return this.send(operation, args);
      },
    );
  }
}

export function createPath(kernel: Kernel, options: PathOptions): Path {
  const { process, server, inOrder, watcher, resent } = options;
  const dice: Dice = kernel.dice();
  // What concerns a line is of interest only where there is one.
  const line = options.calls ? options.line : undefined;
  const adversity = new Map(
    Object.entries(options.adversity).filter(([, { paths }]) => paths === undefined || dice.chance(paths)),
  );
  const connections = new Set<Connection>();
  let delayMs = 0;
  let delayUntilMs = 0;
  let lateMs = 0;
  let lateUntilMs = 0;
  let lossRate = 0;
  let lossUntilMs = 0;
  let duplicateRate = 0;
  let duplicateAfterMs = 0;
  let duplicateUntilMs = 0;
  let requestsCutUntilMs = 0;
  let repliesCutUntilMs = 0;
  let halfOpenUntilMs = 0;
  /** Counts resets: what an old connection still carried never arrives. */
  let wires = 0;
  /** Made once: nobody changes them, and a client that keeps trying sees many. */
  let refusedFault: BackendError | undefined;
  let closedFault: BackendError | undefined;

  function fault(what: string): BackendError {
    return new BackendError("BACKEND_NOT_CONNECTED", { backend: server.name, what });
  }

  interface Connection {
    failAll(what: string): void;
  }

  function hop(fromMs: number, adverse?: Adversity): number {
    const { hopMsMin = HOP_MS_MIN, hopMsMax = options.hopMsMax } = adverse ?? {};
    return dice.between(hopMsMin, delayUntilMs <= fromMs ? hopMsMax : Math.max(delayMs, hopMsMax));
  }

  function breakAll(what: string): void {
    wires++;
    for (const connection of connections) connection.failAll(what);
  }

  if (!resent) server.onDeath(() => breakAll("connection reset by the server"));

  /** Has the client hear of something as soon as it runs. */
  function hear(run: () => void): void {
    if (process.hasCrashed()) return;
    const atMs = process.runsAgainAtMs();
    if (atMs > kernel.nowMs) kernel.plan(atMs, () => hear(run));
    else run();
  }

  function connect(locker: string): Backend {
    return {
      kind: "memory",
      name: server.name,
      capabilities: server.capabilities,
      client: {},
      open: (deployment) => openSession(deployment, locker),
    };
  }

  function openSession(deployment: Deployment, locker: string): BackendSession {
    const remote = server.open(deployment);
    const caller: Caller = { process, locker, connection: remote.name };
    const waiting = new Set<Pending>();
    let closed = false;
    let lastArrivalMs = 0;
    let lastReplyMs = 0;

    const connection: Connection = {
      failAll(what: string): void {
        for (const pending of waiting) fail(pending, what);
      },
    };
    connections.add(connection);

    /** Whether somebody still waits for it; nobody does from here on. */
    function isSettled(pending: Pending): boolean {
      if (pending.settled) return true;
      pending.settled = true;
      if (pending.timeout !== undefined) pending.timeout.run = undefined;
      waiting.delete(pending);
      return false;
    }

    function fail(pending: Pending, what: string): void {
      const error = new BackendError("BACKEND_DISCONNECTED", { backend: server.name, what });
      hear(() => {
        if (isSettled(pending)) return;
        if (kernel.trace !== undefined) note("reply", `${pending.operation}: ${what}`);
        pending.reject(error);
      });
    }

    /** Only where somebody asked for a trace: texts cost more than what they tell of. */
    function note(kind: "send" | "execute" | "reply", text: string): void {
      const lane = kind === "execute" ? server.name : process.name;
      const other = kind === "execute" ? process.name : server.name;
      kernel.trace?.({
        atMs: kind === "send" ? process.atMs() : kernel.nowMs,
        lane,
        kind,
        text: `${other} ${text}`,
      });
    }

    function send(operation: string, args: readonly unknown[]): Promise<unknown> {
      line?.made(caller, operation, args);
      if (closed) return Promise.reject((closedFault ??= fault("the session was closed")));
      if (!server.isUp() && !resent) return Promise.reject((refusedFault ??= fault("connection refused")));
      watcher.sent(operation, args);
      if (kernel.trace !== undefined) note("send", `${operation} ${show(args)}`);
      const sentAtMs = process.atMs();
      return new Promise((resolve, reject) => {
        const pending: Pending = { operation, args, resolve, reject, timeout: undefined, settled: false };
        waiting.add(pending);
        pending.timeout = kernel.plan(sentAtMs + CONNECTION_MS, () => expire(pending));
        const wire = wires;
        if (duplicateUntilMs > sentAtMs && dice.chance(duplicateRate)) {
          watcher.doubled(operation, args);
          kernel.plan(sentAtMs + duplicateAfterMs, () => arrive(pending, wire, "duplicate"));
        }
        if (halfOpenUntilMs > sentAtMs) return;
        if (lossUntilMs > sentAtMs && dice.chance(lossRate)) return;
        const adverse = adversity.get(operation);
        if (adverse?.lost !== undefined && adverse.lost > 0 && dice.chance(adverse.lost)) return;
        let arrivalMs = Math.max(sentAtMs, requestsCutUntilMs) + hop(sentAtMs, adverse);
        if (lateUntilMs > sentAtMs) arrivalMs += lateMs;
        if (inOrder) lastArrivalMs = arrivalMs = Math.max(arrivalMs, lastArrivalMs);
        kernel.plan(arrivalMs, () => arrive(pending, wire, "request"));
      });
    }

    function arrive(pending: Pending, wire: number, what: "request" | "duplicate"): void {
      if (wire !== wires) return;
      const { operation } = pending;
      if (!server.isUp()) {
        if (resent) kernel.plan(kernel.nowMs + hop(kernel.nowMs), () => arrive(pending, wire, what));
        return;
      }
      const leaps = adversity.get(operation)?.leaps ?? 0;
      if (leaps > 0 && dice.chance(leaps)) server.leap();
      const args = options.calls ? pending.args : withoutTicket(operation, pending.args);
      remote.execute({ operation, args }, (outcome) => {
        if (kernel.trace !== undefined) note("execute", `${operation} -> ${showOutcome(outcome)}`);
        if (outcome.error === undefined) {
          if (operation === "acquire" && (outcome.value as AcquireReply).kind === "granted") {
            watcher.granted((pending.args[0] as AcquireRequest).owner);
          }
          line?.executed({ caller, memory: server.memoryName() }, operation, pending.args, outcome.value);
        }
        if (what === "request") reply(pending, outcome, wire);
      });
    }

    function reply(pending: Pending, outcome: Outcome, wire: number): void {
      const fromMs = kernel.nowMs;
      if (halfOpenUntilMs > fromMs) return;
      if (lossUntilMs > fromMs && dice.chance(lossRate)) return;
      let arrivalMs = Math.max(fromMs, repliesCutUntilMs) + hop(fromMs);
      if (inOrder) lastReplyMs = arrivalMs = Math.max(arrivalMs, lastReplyMs);
      kernel.plan(arrivalMs, () => {
        if (wire === wires) deliver(pending, outcome);
      });
    }

    /** As {@link hear}, without a closure for each reply. */
    function deliver(pending: Pending, outcome: Outcome): void {
      if (process.hasCrashed()) return;
      const atMs = process.runsAgainAtMs();
      if (atMs > kernel.nowMs) {
        kernel.plan(atMs, () => deliver(pending, outcome));
        return;
      }
      if (isSettled(pending)) return;
      const { operation, args } = pending;
      if (kernel.trace !== undefined) note("reply", `${operation}: ${showOutcome(outcome)}`);
      if (outcome.error !== undefined) {
        pending.reject(outcome.error);
        return;
      }
      if (operation === "acquire") {
        watcher.answered(server, (args[0] as AcquireRequest).owner, (outcome.value as AcquireReply).kind);
      }
      pending.resolve(outcome.value);
    }

    /** One turn later than what has arrived while the process did not run. */
    function expire(pending: Pending): void {
      if (process.hasCrashed()) return;
      const atMs = process.runsAgainAtMs();
      if (atMs > kernel.nowMs) pending.timeout = kernel.plan(atMs + 1, () => expire(pending));
      else fail(pending, "no answer; connection replaced");
    }

    function watch(listener: (ticket: string, inMs: number) => void): () => void {
      let stopped = false;
      remote.watch((ticket, inMs) => {
        const fromMs = kernel.nowMs;
        if (stopped || closed || halfOpenUntilMs > fromMs) return;
        if (lossUntilMs > fromMs && dice.chance(lossRate)) return;
        const wire = wires;
        // On a connection of its own: it may overtake a reply, and be overtaken.
        kernel.plan(Math.max(fromMs, repliesCutUntilMs) + hop(fromMs), () => {
          if (wire !== wires) return;
          hear(() => {
            if (stopped || closed) return;
            if (kernel.trace !== undefined) note("reply", `call ${ticket} in ${inMs} ms`);
            line?.heard(caller, { ticket, inMs });
            listener(ticket, inMs);
          });
        });
      });
      return () => {
        stopped = true;
      };
    }

    async function close(): Promise<void> {
      closed = true;
      connections.delete(connection);
      connection.failAll("the session was closed");
    }

    complete(server.inspector(deployment));
    return new RemoteSession(send, close, options.calls ? watch : undefined) as unknown as BackendSession;
  }

  return {
    delay(ms: number, forMs: number): void {
      delayMs = ms;
      delayUntilMs = kernel.nowMs + forMs;
    },
    late(ms: number, forMs: number): void {
      lateMs = ms;
      lateUntilMs = kernel.nowMs + forMs;
    },
    lossy(rate: number, forMs: number): void {
      lossRate = rate;
      lossUntilMs = kernel.nowMs + forMs;
    },
    duplicate(rate: number, afterMs: number, forMs: number): void {
      duplicateRate = rate;
      duplicateAfterMs = afterMs;
      duplicateUntilMs = kernel.nowMs + forMs;
    },
    cut(what: "requests" | "replies" | "both", forMs: number): void {
      if (what !== "replies") requestsCutUntilMs = kernel.nowMs + forMs;
      if (what !== "requests") repliesCutUntilMs = kernel.nowMs + forMs;
    },
    halfOpen(forMs: number): void {
      halfOpenUntilMs = kernel.nowMs + forMs;
      kernel.plan(halfOpenUntilMs, () => breakAll("connection reset after silence"));
    },
    reset: () => breakAll("connection reset"),
    heal(): void {
      delayUntilMs = lateUntilMs = lossUntilMs = duplicateUntilMs = 0;
      requestsCutUntilMs = repliesCutUntilMs = halfOpenUntilMs = 0;
    },
    connect,
  };
}

/** A store that calls nobody does not read tickets. */
function withoutTicket(operation: string, args: readonly unknown[]): readonly unknown[] {
  if (operation === "release") return args.slice(0, 2);
  if (operation !== "acquire") return args;
  const request = args[0] as AcquireRequest;
  return request.ticket === undefined ? args : [{ ...request, ticket: undefined }];
}

function show(args: readonly unknown[]): string {
  return args.map((arg) => JSON.stringify(arg, plain)).join(" ");
}

function showOutcome(outcome: Outcome): string {
  if (outcome.error !== undefined) return outcome.error.message;
  return JSON.stringify(outcome.value, plain) ?? "done";
}

function plain(_name: string, value: unknown): unknown {
  if (typeof value === "bigint") return `${value}`;
  return typeof value === "number" ? Math.round(value * 1000) / 1000 : value;
}
