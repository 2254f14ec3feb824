/** The figures of all phases together, as text and for the docs. */
import { cpus, loadavg } from "node:os";
import type { PhaseResult } from "./run-phase.ts";

export interface Verdict {
  readonly command: string;
  readonly seed: number;
  readonly minutes: number;
  readonly machine: string;
  readonly holds: number;
  readonly handovers: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly faultsInAll: number;
  readonly writes: { readonly accepted: number; readonly stale: number; readonly failed: number };
  readonly signals: number;
  readonly overlapsOutside: number;
  readonly unavailableMs: number;
  readonly violations: readonly string[];
  readonly skipped: readonly string[];
  readonly phases: readonly PhaseResult[];
}

export function verdictOf(
  run: {
    readonly command: string;
    readonly seed: number;
    readonly loadAtStart: number;
    readonly versions: { readonly postgres: string; readonly redis: string };
    readonly skipped: readonly string[];
  },
  phases: readonly PhaseResult[],
): Verdict {
  const sum = (of: (phase: PhaseResult) => number): number =>
    phases.reduce((total, phase) => total + of(phase), 0);
  const faults: Record<string, number> = {};
  for (const phase of phases) {
    for (const [name, count] of Object.entries(phase.faults)) faults[name] = (faults[name] ?? 0) + count;
  }
  const versions = [...new Set(phases.flatMap((phase) => phase.versions))];
  const load = `load average ${run.loadAtStart.toFixed(1)} at the start, ${(loadavg()[0] ?? 0).toFixed(1)} at the end`;
  return {
    command: run.command,
    seed: run.seed,
    minutes: sum(({ seconds }) => seconds) / 60,
    machine: [
      `${cpus().length} cores`,
      load,
      `Node ${process.versions.node}`,
      ...versions,
      `resources: PostgreSQL ${run.versions.postgres}, Redis ${run.versions.redis}`,
    ].join("; "),
    holds: sum(({ holds }) => holds),
    handovers: sum(({ handovers }) => handovers),
    faults,
    faultsInAll: Object.values(faults).reduce((total, count) => total + count, 0),
    writes: {
      accepted: sum(({ writes }) => writes.accepted),
      stale: sum(({ writes }) => writes.stale),
      failed: sum(({ writes }) => writes.failed),
    },
    signals: sum(({ signals }) => signals),
    overlapsOutside: sum(({ overlapsOutside }) => overlapsOutside),
    unavailableMs: Math.max(0, ...phases.map((phase) => phase.unavailableMs)),
    violations: phases.flatMap(({ phase, violations }) =>
      violations.map(({ checker, what }) => `${phase}: ${checker}: ${what}`),
    ),
    skipped: run.skipped,
    phases,
  };
}

/** One line while a run goes on. */
export function lineOf(result: PhaseResult): string {
  const faults = Object.values(result.faults).reduce((total, count) => total + count, 0);
  const parts = [
    `${result.holds} holds`,
    `${result.handovers} handovers`,
    `${faults} faults`,
    `${result.writes.stale} stale writes refused`,
    `unavailable ${(result.unavailableMs / 1_000).toFixed(1)} s at most`,
    ...(result.overlapsOutside > 0 ? [`${result.overlapsOutside} overlaps (not promised here)`] : []),
    result.violations.length === 0 ? "no violation" : `${result.violations.length} VIOLATIONS`,
  ];
  const title = `${result.phase} ${result.quorum}/${result.backends}`.padEnd(18);
  return `${title} ${result.seconds.toFixed(0).padStart(4)} s: ${parts.join(", ")}`;
}

const VIOLATIONS_SHOWN = 20;

export function textOf(verdict: Verdict): string {
  const { writes } = verdict;
  return [
    `Seed ${verdict.seed}, ${verdict.minutes.toFixed(1)} minutes; ${verdict.machine}`,
    `Holds: ${verdict.holds}, handovers to another process: ${verdict.handovers}`,
    `Faults: ${verdict.faultsInAll}`,
    ...Object.entries(verdict.faults)
      .sort(([, a], [, b]) => b - a)
      .map(([name, count]) => `  ${String(count).padStart(5)}  ${name}`),
    `Writes: ${writes.accepted} accepted, ${writes.stale} stale ones refused, ${writes.failed} failed`,
    `Losses signalled: ${verdict.signals}`,
    `Longest time in which a wanted key was held by nobody: ${(verdict.unavailableMs / 1_000).toFixed(1)} s`,
    `Two holders while server clocks jumped, where exclusion is not promised: ${verdict.overlapsOutside}`,
    ...verdict.skipped,
    verdict.violations.length === 0 ? "Violations: none" : `VIOLATIONS: ${verdict.violations.length}`,
    ...verdict.violations.slice(0, VIOLATIONS_SHOWN).map((each) => `  ${each}`),
  ].join("\n");
}
