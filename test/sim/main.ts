/** The simulation from the command line. Resolves to the exit code: 1 for a broken promise or a survivor, 2 for a wrong option. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { HELP, isSingle, parseArguments, UsageError, type Arguments } from "./arguments.js";
import { faultText } from "./faults.js";
import { judge } from "./judge.js";
import type { TraceLine } from "./kernel.js";
import { drawPlan, type Plan } from "./plan.js";
import { PROFILES } from "./profiles.js";
import { runWorlds, total, type Failure, type Tally } from "./run.js";
import { PLANTED, readFindings, runMutants, writeFindings, type MutantOutcome } from "./run-mutants.js";
import { shrink, withFaults } from "./shrink.js";
import { timelineSvg, timelineText, traceText } from "./timeline.js";

const SEEDS = 100;
const PROGRESS_MS = 2_000;
const HOUR_MS = 3_600_000;
/** What a timeline shows; the rest is in the trace. */
const SHOWN: ReadonlySet<TraceLine["kind"]> = new Set(["fault", "lease", "write", "phase"]);
/** Of a failure, so many lines ahead of its end. */
const LINES_MAX = 120;

/** The files that runs are recorded in; both are read by `scripts/docs.mjs`. From the root of the project. */
const FIGURES = "test/sim/figures.json";
const FINDINGS = "test/sim/mutant-findings.json";

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** Runs from the root of the project. */
export async function main(args: readonly string[]): Promise<number> {
  let parsed: Arguments;
  try {
    parsed = parseArguments(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`sim: ${error.message}\n`);
    return 2;
  }
  if (parsed.help) {
    print(HELP);
    return 0;
  }
  if (parsed.mutants) return mutants(parsed);
  if (parsed.hash) return hash(parsed);
  return isSingle(parsed) ? single(parsed) : many(parsed);
}

async function many(args: Arguments): Promise<number> {
  const startedAt = performance.now();
  const cpuAtStart = process.cpuUsage();
  const progress = (tallies: ReadonlyMap<string, Tally>): void => {
    const { user, system } = process.cpuUsage(cpuAtStart);
    print(progressText(total(tallies as never), (user + system) / 1e6));
  };
  let shownAt = startedAt;
  let failure: Failure | undefined;
  const tallies = await runWorlds(
    {
      profiles: args.profiles,
      firstSeed: args.seed ?? 1,
      seeds: args.minutes === undefined ? (args.seeds ?? SEEDS) : args.seeds,
      withinMs: args.minutes === undefined ? undefined : args.minutes * 60_000,
    },
    (sofar, found) => {
      failure = found;
      if (found !== undefined) return "stop";
      if (performance.now() - shownAt > PROGRESS_MS) {
        shownAt = performance.now();
        progress(sofar);
      }
      return "go on";
    },
  );
  progress(tallies);
  for (const [name, { worlds, excused }] of tallies) {
    if (PROFILES[name].notPromised.length === 0) continue;
    const rates = PROFILES[name].notPromised.map(
      (promise) => `${promise} broken in ${percent((excused[promise] ?? 0) / worlds)} of them`,
    );
    print(`${name}: ${worlds} worlds outside the assumptions, ${rates.join(", ")}`);
  }
  if (args.record) record(tallies);
  if (failure === undefined) {
    print("No promise was broken.");
    return 0;
  }
  await explain(failure);
  return 1;
}

function progressText(all: Tally, cpuSeconds: number): string {
  const rate = all.worlds / cpuSeconds;
  const mean = (sum: number, digits: number): string => (sum / Math.max(1, all.worlds)).toFixed(digits);
  return (
    `${all.worlds} worlds (${rate.toFixed(0)} per second of processor time), ${(all.simulatedMs / HOUR_MS).toFixed(2)} simulated hours, ` +
    `${all.events} events, ${all.faults} faults, ${all.leases} holds, ${percent(all.fast / Math.max(1, all.leases))} of them won in one round trip; ` +
    `a world has ${mean(all.events, 0)} events, ${mean(all.faults, 1)} faults and ${mean(all.leases, 1)} holds`
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %`;
}

/** What an engineer needs: what, with how little, how it went, and how to see it again. */
async function explain({ plan, broken }: Failure): Promise<void> {
  const [first] = broken;
  if (first === undefined) return;
  print(`\nBROKEN in world ${plan.seed} of profile ${plan.profile}:`);
  for (const { checker, what } of broken.slice(0, 5)) print(`  ${checker}: ${what}`);
  const needed = await shrink(plan, first.checker);
  print(`\nThe shortest list of faults that still breaks it (${needed.length} of ${plan.faults.length}):`);
  for (const index of needed) {
    const fault = plan.faults[index];
    if (fault !== undefined) print(`  [${index}] ${faultText(fault)}`);
  }
  const lines: TraceLine[] = [];
  const shrunk = await judge(withFaults(plan, needed), { trace: (line) => lines.push(line) });
  print(`\nWith them alone: ${shrunk.broken[0]?.what ?? "nothing is broken"}\n`);
  print(timelineText(tail(lines), SHOWN));
  const only = needed.length === 0 ? "none" : needed.join(",");
  print(
    `\nSee it again: npm run sim -- --profile ${plan.profile} --seed ${plan.seed} --faults ${only}\n` +
      "(with --trace for every event, --svg FILE for a picture)",
  );
}

function tail(lines: readonly TraceLine[]): readonly TraceLine[] {
  return lines.filter(({ kind }) => SHOWN.has(kind)).slice(-LINES_MAX);
}

async function single(args: Arguments): Promise<number> {
  let isBroken = false;
  for (const name of args.profiles) {
    const whole = drawPlan(args.seed ?? 1, name);
    const plan: Plan = args.faults === undefined ? whole : withFaults(whole, args.faults);
    const lines: TraceLine[] = [];
    const { broken, excused, history, figures } = await judge(plan, { trace: (line) => lines.push(line) });
    print(args.trace ? lines.map(traceText).join("\n") : timelineText(lines, SHOWN));
    print(
      `\nWorld ${plan.seed} of profile ${name}: ${figures.events} events, ${figures.faults} faults, ${figures.leases} holds.`,
    );
    for (const { checker, what } of broken) print(`BROKEN ${checker}: ${what}`);
    for (const { checker, what } of excused) print(`not promised here: ${checker}: ${what}`);
    if (args.svg !== undefined) {
      writeFileSync(
        args.svg,
        timelineSvg(lines, history, `quorum-lock: world ${plan.seed} of profile ${name}`),
      );
      print(`The picture is in ${args.svg}`);
    }
    isBroken ||= broken.length > 0;
  }
  return isBroken ? 1 : 0;
}

async function hash(args: Arguments): Promise<number> {
  const digest = createHash("sha256");
  const first = args.seed ?? 1;
  for (let seed = first; seed < first + (args.seeds ?? SEEDS); seed++) {
    for (const name of args.profiles) {
      await judge(drawPlan(seed, name), { trace: (line) => digest.update(`${traceText(line)}\n`) });
    }
  }
  print(digest.digest("hex"));
  return 0;
}

async function mutants(args: Arguments): Promise<number> {
  const findings = readFindings(fileOf(FINDINGS));
  const chosen = PLANTED.filter(({ name }) => args.only === undefined || name.includes(args.only));
  const outcomes: MutantOutcome[] = [];
  for await (const outcome of runMutants({
    mutants: chosen,
    full: args.full,
    findings,
    without: args.without,
  })) {
    outcomes.push(outcome);
    const { mutant, found, worlds } = outcome;
    print(
      found === undefined
        ? `SURVIVED ${mutant.name}: not seen in ${worlds} worlds of profile ${mutant.profile}`
        : `seen     ${mutant.name}: by ${found.violation.checker} in world ${found.world} of profile ${mutant.profile}`,
    );
  }
  if (args.record && args.full) writeFindings(fileOf(FINDINGS), outcomes);
  const survivors = outcomes.filter(({ found }) => found === undefined).length;
  print(`${outcomes.length - survivors} of ${outcomes.length} mutants were seen.`);
  return survivors === 0 ? 0 : 1;
}

/** Keeps the longer run of each profile; rates of this machine are not recorded. */
function record(tallies: ReadonlyMap<string, Tally>): void {
  const file = fileOf(FIGURES);
  const before = JSON.parse(readFileSync(file, "utf8")) as Record<string, { readonly worlds: number }>;
  const date = new Date().toISOString().slice(0, 10);
  for (const [name, tally] of tallies) {
    if (tally.worlds >= (before[name]?.worlds ?? 0)) before[name] = { date, ...tally } as never;
  }
  writeFileSync(file, `${JSON.stringify(before, undefined, 2)}\n`);
}

function fileOf(path: string): URL {
  return new URL(path, `file://${process.cwd()}/`);
}
