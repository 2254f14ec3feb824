/** Runs one phase on one set of backends, and checks its history. */
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { seededRandom } from "../../src/testing/random.js";
import { overlaps } from "./checkers/exclusion.js";
import { violationsOf } from "./checkers/all.js";
import { FAULTS, type Dice, type FaultName } from "./faults.ts";
import { readHistory, type History, type ResourceLog, type Violation } from "./history.js";
import type { Phase } from "./phases.ts";
import { startStage, untilInService, type Stage, type StagePlan } from "./stage.ts";

/** What a phase came to. */
export interface PhaseResult {
  readonly phase: string;
  readonly backends: number;
  readonly quorum: number;
  readonly kinds: readonly string[];
  readonly versions: readonly string[];
  readonly seconds: number;
  readonly holds: number;
  /** A lease whose predecessor of the same key was another process'. */
  readonly handovers: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly writes: { readonly accepted: number; readonly stale: number; readonly failed: number };
  readonly signals: number;
  readonly refusals: Readonly<Record<string, number>>;
  /** Two holders where that is not promised. */
  readonly overlapsOutside: number;
  /** The longest time in which a key that clients wanted was held by nobody, in milliseconds. */
  readonly unavailableMs: number;
  readonly violations: readonly Violation[];
}

/** Resolves when it is over, also when `stopped` says so earlier. */
export async function runPhase(
  phase: Phase,
  plan: StagePlan,
  time: { readonly seconds: number; readonly stopped: AbortSignal },
): Promise<PhaseResult> {
  const stage = await startStage(plan);
  try {
    // A broken locker need not start the deployment.
    if (plan.plant !== "minority") await untilInService(stage);
    const startedMs = performance.now();
    const faults = await strike(stage, phase, { plan, ...time });
    const files = await stage.endClients();
    const seconds = (performance.now() - startedMs) / 1_000;
    const logs = await plan.resources.logs(plan.keys);
    writeFileSync(`${plan.folder}/resources.json`, textOf(logs));
    const history = readHistory(files, { judged: { exclusion: !phase.setsServerClocks }, logs });
    return { ...summaryOf(phase, plan, stage), seconds, faults, ...figuresOf(history) };
  } finally {
    await stage.stop();
  }
}

/** Draws and runs faults in lanes until the time is up; what two faults need for themselves never meets. */
async function strike(
  stage: Stage,
  phase: Phase,
  how: { readonly plan: StagePlan; readonly seconds: number; readonly stopped: AbortSignal },
): Promise<Readonly<Record<string, number>>> {
  const untilMs = performance.now() + 1_000 * how.seconds;
  const counts = new Map<string, number>();
  const taken = new Set<string>();
  const over = (): boolean => performance.now() >= untilMs || how.stopped.aborted;
  await Promise.all(
    Array.from({ length: phase.lanes }, async (_, lane) => {
      const random = seededRandom(how.plan.seed + 77 * lane);
      const dice: Dice = {
        between: (min, max) => min + random() * (max - min),
        pick: (list) => list[Math.floor(random() * list.length)] as never,
      };
      while (!over()) {
        await sleep(dice.between(50, 500));
        const name: FaultName = dice.pick(phase.faults);
        const fault = FAULTS[name](stage, dice);
        if (fault.holds.some((held) => taken.has(held)) || over()) continue;
        for (const held of fault.holds) taken.add(held);
        const struck = await fault.run();
        for (const held of fault.holds) taken.delete(held);
        counts.set(name, (counts.get(name) ?? 0) + struck);
      }
    }),
  );
  return Object.fromEntries(counts);
}

function textOf(logs: readonly ResourceLog[]): string {
  return JSON.stringify(logs, (_, value: unknown) => (typeof value === "bigint" ? `${value}` : value), 1);
}

function summaryOf(
  phase: Phase,
  plan: StagePlan,
  stage: Stage,
): Pick<PhaseResult, "phase" | "backends" | "quorum" | "kinds" | "versions"> {
  return {
    phase: phase.name,
    backends: plan.kinds.length,
    quorum: plan.quorum,
    kinds: [...new Set(plan.kinds.map(({ name }) => name))],
    versions: [...new Set(stage.seats.map(({ kind, server }) => `${kind.name} ${server.version}`))],
  };
}

function figuresOf(
  history: History,
): Pick<
  PhaseResult,
  | "holds"
  | "handovers"
  | "writes"
  | "signals"
  | "refusals"
  | "overlapsOutside"
  | "unavailableMs"
  | "violations"
> {
  const last = new Map<string, { client: string; heldUntilMs: number }>();
  let handovers = 0;
  let unavailableMs = 0;
  for (const { key, client, acquiredMs, heldUntilMs } of history.leases) {
    const before = last.get(key);
    if (before !== undefined && before.client !== client) handovers++;
    if (before !== undefined) unavailableMs = Math.max(unavailableMs, acquiredMs - before.heldUntilMs);
    last.set(key, { client, heldUntilMs: Math.max(heldUntilMs, before?.heldUntilMs ?? 0) });
  }
  const writes = { accepted: 0, stale: 0, failed: 0 };
  for (const { outcome } of history.writes) writes[outcome]++;
  return {
    holds: history.leases.length,
    handovers,
    writes,
    signals: history.leases.filter(({ signal }) => signal !== undefined).length,
    refusals: Object.fromEntries(history.refusals),
    overlapsOutside: history.judged.exclusion ? 0 : overlaps(history).length,
    unavailableMs,
    violations: violationsOf(history),
  };
}
