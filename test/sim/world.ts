/**
 * One simulated world, run: the production lockers in several client processes, over production memory backends behind a
 * bad network, and every fault of its plan at its time. Yields the history that the checkers read. Nothing in it waits
 * for the real clock, and the same plan gives the same trace, byte for byte.
 */
import type { Deployment } from "../../src/backend.js";
import { majority } from "../../src/engine/quorum.js";
import { requestDeadlineMs } from "../../src/engine/schedule.js";
import { quarantineMs } from "../../src/engine/validity.js";
import { createHighWaterMarks } from "../../src/index.js";
import type { Running } from "./drain.js";
import { createClient, type Client, type Surroundings } from "./client.js";
import { closeAll, isRemembered, lastPhase, lookForGhosts, rest, REST_MS, type Stage } from "./endings.js";
import { faultText, type Fault } from "./faults.js";
import type { ForcedRecord, History, LastAcquireRecord } from "./history.js";
import { createLineLog } from "./line-log.js";
import { createKernel, type Kernel, type TraceLine } from "./kernel.js";
import type { Plan } from "./plan.js";
import { PROFILES, type Profile } from "./profiles.js";
import { createRecorder } from "./recorder.js";
import { createServer, type Server } from "./server.js";

/** What happened in a world. */
export interface WorldOutcome {
  readonly history: History;
  readonly figures: Figures;
}

/** How much happened. */
export interface Figures {
  readonly simulatedMs: number;
  readonly events: number;
  /** Faults that took place; one that would have broken an assumption does not. */
  readonly faults: number;
  readonly leases: number;
  /** Leases won in one round trip: no backend had to be told the token. */
  readonly fast: number;
}

const SEED_OF_RUN = 7_000_000;
const RETENTION_MS = 604_800_000;

/** Runs a world to its end. */
export function* runWorld(plan: Plan, trace?: (line: TraceLine) => void): Running<WorldOutcome> {
  const profile: Profile = PROFILES[plan.profile];
  const kernel = createKernel(plan.seed + SEED_OF_RUN, trace);
  const dice = kernel.dice();
  const recorder = createRecorder(kernel);
  const line = createLineLog(kernel);
  const deployment = deploymentOf(plan);
  let incarnations = 0;
  const servers = plan.backends.map((clocks, index) =>
    createServer(kernel, {
      index,
      clocks,
      leap: { chance: profile.leapChance ?? 0, leapMs: plan.maxTtlMs },
      nature: plan.natures[index] ?? { grainMs: 0, durable: false },
      onCall: line.called,
      incarnation: () => `memory-${++incarnations}`,
    }),
  );
  const surroundings: Surroundings = {
    kernel,
    servers,
    recorder,
    line,
    plan,
    profile,
    marks: createHighWaterMarks(),
    handOvers: [],
    answered: noteAnswer,
    granted: (owner) => {
      grantedAtMs.set(owner, kernel.nowMs);
    },
    doubled: (operation, args) => {
      const key = args[0] as string;
      if (operation === "forceRelease") doubled.set(key, (doubled.get(key) ?? 0) + 1);
    },
    isOver: () => over,
  };
  const clients: Client[] = [];
  /** What happens to a server as soon as it has granted something, or as another one refused what it granted. */
  const atGrant = new Map<Server, () => void>();
  const atSplit = new Map<Server, () => void>();
  /** Who granted something to an owner, and who refused it. */
  const grants = new Map<string, { readonly granted: Set<Server>; refused: boolean }>();
  /** When a server last granted an acquire, by its owner. */
  const grantedAtMs = new Map<string, number>();
  /** How many forced releases of a key are executed once more later, as if they had not been answered; several may overlap. */
  const doubled = new Map<string, number>();
  let over = false;
  let faults = 0;
  let replaced = 0;

  const phase = (text: string): void => {
    trace?.({ atMs: kernel.nowMs, lane: "world", kind: "phase", text });
  };

  phase(
    `${plan.n} backends, quorum ${plan.quorum ?? "by default"}, ${plan.clients.length} clients, ${plan.keys.length} keys, ` +
      `restartGuard ${plan.guard}, drift ${plan.driftPpm} ppm, TTL up to ${plan.maxTtlMs} ms`,
  );
  plan.clients.forEach((client, i) => clients.push(createClient(surroundings, `c${i + 1}`, client)));
  if (plan.founded) yield* found(servers, deployment, kernel);
  else if (plan.guard === "strict") {
    let started = false;
    void clients[0]?.lockers[0]
      ?.bootstrap()
      .catch(() => undefined)
      .finally(() => {
        started = true;
      });
    yield kernel.until(kernel.nowMs + 1_000, () => started);
  }
  for (const client of clients) client.employ();
  const beganAtMs = kernel.nowMs;
  if (profile.absent === true) {
    const last = servers.at(-1);
    if (dice.chance(0.5)) last?.down(plan.durationMs);
    else last?.freeze(plan.durationMs);
  }
  for (const fault of plan.faults) {
    kernel.plan(beganAtMs + fault.atMs, () => strike(fault));
  }
  yield kernel.until(beganAtMs + plan.durationMs);
  over = true;
  phase("all faults end");
  const endedAtMs = kernel.nowMs;
  for (const server of servers) server.heal();
  for (const client of clients) client.heal();
  recorder.noteSilentLosses();
  line.end();
  const leaks: string[] = [];
  const lastAcquires: LastAcquireRecord[] = [];
  const stage: Stage = {
    kernel,
    plan,
    servers,
    clients,
    deployment,
    surroundings,
    leaks,
    lastAcquires,
    phase,
  };
  switch (profile.ending) {
    case "graceful":
      yield* rest(stage);
      yield kernel.until(kernel.nowMs + REST_MS / 2);
      yield* lookForGhosts(stage);
      yield* closeAll(stage);
      break;
    case "last":
      if (dice.chance(0.5)) yield* closeAll(stage);
      else for (const client of clients) client.crash();
      yield* lastPhase(stage);
      break;
    case "none":
      for (const client of clients) client.crash();
  }
  const { leases, writes, losses, silentLosses, overstated, forced } = recorder.records();
  const history: History = {
    seed: plan.seed,
    assumptions: {
      memoryKept: !losesMemory(plan),
      wallClocksAgree: (profile.skewFactor ?? 1) <= 1,
      expiryByClock: profile.broken !== "A1",
      somethingRemembers: profile.broken !== "A5",
      calm: profile.calm === true,
    },
    lineBounds: {
      driftPpm: plan.driftPpm,
      grainMs: Math.max(...plan.natures.map(({ grainMs }) => grainMs)),
      attemptMs: requestDeadlineMs(plan.maxTtlMs),
      backends: plan.natures.filter(({ calls }) => calls).length,
      idleMsMax: profile.idleMsMax,
      endedAtMs,
    },
    line: line.records(),
    waiters: line.waiters(),
    wakes: line.wakes(),
    grants: grantedAtMs,
    leases,
    writes,
    losses,
    silentLosses,
    overstated,
    forced,
    lastAcquires,
    leaks,
  };
  return {
    history,
    figures: {
      simulatedMs: kernel.nowMs,
      events: kernel.events,
      faults,
      leases: history.leases.length,
      fast: recorder.fast(),
    },
  };

  function strike(fault: Fault): void {
    const client = clients[fault.client % clients.length];
    const server = servers[fault.backend % servers.length];
    if (client === undefined || server === undefined) return;
    const path = client.paths[server.index];
    const hit = (): void => {
      faults++;
      trace?.({
        atMs: kernel.nowMs,
        lane: laneOf(fault, client, server),
        kind: "fault",
        text: faultText(fault),
      });
    };
    const { ms, forMs, rate } = fault;
    switch (fault.kind) {
      case "forget":
      case "restart":
      case "failover":
        if (server.index >= plan.forgetful) return;
        ifAllowed(fault.kind === "restart" ? undefined : server, () => {
          hit();
          if (fault.kind === "failover") server.failover(forMs);
          else server.restart(fault.kind === "forget" ? "lost" : "kept", forMs);
        });
        return;
      case "forget granted":
      case "forget split":
        if (server.index >= plan.forgetful) return;
        (fault.kind === "forget split" ? atSplit : atGrant).set(server, () => {
          kernel.plan(kernel.nowMs + ms, () => {
            if (over) return;
            ifAllowed(server, () => {
              hit();
              server.restart("lost", forMs);
            });
          });
        });
        return;
      case "amnesia":
        for (const each of servers) each.restart("lost", forMs);
        return hit();
      case "delay":
        path?.delay(ms, forMs);
        return hit();
      case "late":
        path?.late(ms, forMs);
        return hit();
      case "lossy":
        path?.lossy(rate, forMs);
        return hit();
      case "duplicate":
        path?.duplicate(rate, ms, forMs);
        return hit();
      case "cut":
        path?.cut("both", forMs);
        return hit();
      case "cut requests":
        path?.cut("requests", forMs);
        return hit();
      case "cut replies":
        path?.cut("replies", forMs);
        return hit();
      case "half-open":
        path?.halfOpen(forMs);
        return hit();
      case "reset":
        path?.reset();
        return hit();
      case "partition":
        client.paths.slice(0, Math.floor(plan.n / 2) + 1).forEach((each) => each.cut("both", forMs));
        return hit();
      case "down":
        server.down(forMs);
        return hit();
      case "freeze":
        server.freeze(forMs);
        return hit();
      case "slow":
        server.slow(ms, forMs);
        return hit();
      case "refuse":
        server.refuse(forMs);
        return hit();
      case "stall":
        client.process.stall(forMs);
        return hit();
      case "suspend":
        client.process.suspend(forMs);
        return hit();
      case "unseen pause":
        client.process.freeze(forMs);
        return hit();
      case "pause":
        client.process.pauseAfter(Math.ceil(rate * 40), ms);
        return hit();
      case "jump":
        if (profile.madClocks !== true) return;
        clients[
          fault.client % Math.min(clients.length, profile.madClients ?? clients.length)
        ]?.process.jumpWall(ms);
        return hit();
      case "close":
        client.reopen(fault.backend);
        return hit();
      case "force release":
        hit();
        force(client, plan.keys[fault.backend % plan.keys.length] ?? "");
        return;
      case "replace": {
        const next = plan.newClients[replaced++ % plan.newClients.length];
        if (next === undefined) return;
        client.crash();
        const fresh = createClient(surroundings, `c${plan.clients.length + replaced}`, next);
        clients.splice(clients.indexOf(client), 1, fresh);
        fresh.employ();
        return hit();
      }
    }
  }

  /** What anybody who listens to the network knows. */
  function noteAnswer(server: Server, owner: string, kind: string): void {
    if (atGrant.size + atSplit.size === 0) return;
    const known = grants.get(owner) ?? { granted: new Set(), refused: false };
    grants.set(owner, known);
    if (kind === "granted") known.granted.add(server);
    if (kind === "held") known.refused = true;
    if (kind === "granted") fire(atGrant, server);
    if (known.refused) for (const granted of known.granted) fire(atSplit, granted);
  }

  function fire(armed: Map<Server, () => void>, server: Server): void {
    const happen = armed.get(server);
    armed.delete(server);
    happen?.();
  }

  /** Under "auto" a memory may be lost while another backend is in service, or was told that a deployment exists (A5). */
  function ifAllowed(server: Server | undefined, then: () => void): void {
    if (server === undefined || plan.guard !== "auto") then();
    else
      void isRemembered(servers, deployment, server).then((remembered) => {
        if (remembered) then();
      });
  }

  /** The locker's own forced release, and where that did not get through, an operator who does in the end. */
  function force(client: Client, key: string): void {
    const record: ForcedRecord = { key, atMs: kernel.nowMs, doneAtMs: undefined };
    recorder.noteForced(record);
    const insist = (everybodyAnswered: boolean): void => {
      let missing = servers.length;
      for (const server of servers) {
        kernel.plan(kernel.nowMs + dice.between(0.5, 10), () => {
          void server
            .inspector(deployment)
            .forceRelease(key)
            .then((wasLocked) => {
              if (wasLocked) line.forced(server.memoryName(), key);
              // A request that was not answered, or comes twice, may still arrive, and take the lock of whoever has it then.
              if (--missing === 0 && everybodyAnswered) record.doneAtMs = kernel.nowMs;
            });
        });
      }
    };
    const [locker] = client.lockers;
    if (locker === undefined || dice.chance(0.5)) insist(true);
    else {
      const before = doubled.get(key);
      locker.forceRelease(key).then(
        ({ backends }) =>
          insist(doubled.get(key) === before && backends.every(({ outcome }) => outcome !== "fault")),
        () => insist(false),
      );
    }
  }
}

/** Puts a new deployment into service without a message. */
function* found(servers: readonly Server[], deployment: Deployment, kernel: Kernel): Running<void> {
  for (const server of servers) {
    const session = server.inspector(deployment);
    void session.status().then(({ identity }) => session.bootstrap(identity.incarnation));
  }
  yield kernel.until(kernel.nowMs, () => true);
}

function losesMemory(plan: Plan): boolean {
  return plan.faults.some(({ kind }) =>
    ["forget", "forget granted", "forget split", "failover", "amnesia", "restart"].includes(kind),
  );
}

function laneOf({ kind }: Fault, client: Client, server: Server): string {
  switch (kind) {
    case "forget":
    case "forget granted":
    case "forget split":
    case "restart":
    case "failover":
    case "down":
    case "freeze":
    case "slow":
    case "refuse":
      return server.name;
    case "amnesia":
    case "force release":
      return "world";
    default:
      return client.process.name;
  }
}

/** The figures that the lockers of a world agree on with its backends, for whoever looks at a backend past them. */
export function deploymentOf(plan: Plan): Deployment {
  const { maxTtlMs, clockSkewMs, driftPpm } = plan;
  const lateByMs = Math.max(...plan.natures.map(({ grainMs }) => grainMs));
  return {
    backends: plan.n,
    quorum: plan.quorum ?? majority(plan.n),
    maxTtlMs,
    clockSkewMs,
    quarantineMs: quarantineMs({ maxTtlMs, clockSkewMs, driftPpm, lateByMs }),
    tokenRetentionMs: RETENTION_MS,
    restartGuard: plan.guard,
  };
}
