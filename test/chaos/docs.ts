/** Puts the figures of a run into docs/chaos.md, between its marks, so that none is typed by hand. */
import { readFileSync, writeFileSync } from "node:fs";
import { format } from "prettier";
import type { Verdict } from "./verdict.ts";

const PAGE = "docs/chaos.md";
const SPANS = {
  one: /(<!-- chaos run -->\n)[\s\S]*?(<!-- end -->)/,
  mixed: /(<!-- mixed chaos run -->\n)[\s\S]*?(<!-- end -->)/,
};

export async function writeDocs(verdict: Verdict): Promise<void> {
  const before = readFileSync(PAGE, "utf8");
  const mixed = verdict.phases.some(({ kinds }) => kinds.length > 1);
  const span = mixed ? SPANS.mixed : SPANS.one;
  if (!span.test(before)) throw new Error(`${PAGE} has no place for the figures`);
  const after = before.replace(
    span,
    (_, start: string, end: string) => `${start}\n${figures(verdict)}\n\n${end}`,
  );
  writeFileSync(PAGE, await format(after, { filepath: PAGE, printWidth: 110 }));
}

function figures(verdict: Verdict): string {
  const { writes } = verdict;
  const staleAccepted = verdict.phases.flatMap(({ violations }) =>
    violations.filter(({ checker }) => checker === "stale writes"),
  ).length;
  const count = (value: number): string => value.toLocaleString("en-US");
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const sets = [...new Set(verdict.phases.map(({ quorum, backends }) => `${quorum} of ${backends}`))];
  const byPhase = [...new Set(verdict.phases.map(({ phase }) => phase))].map((name) => {
    const own = verdict.phases.filter(({ phase }) => phase === name);
    const sum = (of: (phase: (typeof own)[0]) => number): number =>
      own.reduce((total, each) => total + of(each), 0);
    return row([
      name,
      count(sum(({ holds }) => holds)),
      count(sum(({ handovers }) => handovers)),
      count(sum(({ faults }) => Object.values(faults).reduce((total, each) => total + each, 0))),
      count(sum((each) => each.writes.stale)),
      seconds(Math.max(...own.map(({ unavailableMs }) => unavailableMs))),
      count(sum(({ violations }) => violations.length)),
    ]);
  });
  return [
    `\`${verdict.command}\`, seed ${verdict.seed}, ${verdict.minutes.toFixed(1)} minutes of faults, quorums of ${sets.join(", ")}. ${verdict.machine}.`,
    [
      row(["what", "figure"]),
      row(["---", "---"]),
      row(["violations", count(verdict.violations.length)]),
      row(["holds", count(verdict.holds)]),
      row(["handovers to another process", count(verdict.handovers)]),
      row(["faults", count(verdict.faultsInAll)]),
      row(["guarded writes accepted", count(writes.accepted)]),
      row(["stale writes refused", count(writes.stale)]),
      row(["stale writes accepted", count(staleAccepted)]),
      row(["losses signalled", count(verdict.signals)]),
      row(["longest time in which a wanted key was held by nobody", seconds(verdict.unavailableMs)]),
      row(["two holders while server clocks jumped (not promised there)", count(verdict.overlapsOutside)]),
    ].join("\n"),
    [
      row([
        "phase",
        "holds",
        "handovers",
        "faults",
        "stale writes refused",
        "longest unavailable",
        "violations",
      ]),
      row(["---", "---", "---", "---", "---", "---", "---"]),
      ...byPhase,
    ].join("\n"),
    [
      row(["fault", "times"]),
      row(["---", "---"]),
      ...Object.entries(verdict.faults)
        .sort(([, a], [, b]) => b - a)
        .map(([name, times]) => row([name, count(times)])),
    ].join("\n"),
  ].join("\n\n");
}
