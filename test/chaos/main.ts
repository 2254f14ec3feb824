/** `npm run chaos`: phases on sets of backends in turn, then the verdict. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { relative } from "node:path";
import { resolveFaketime } from "../../scripts/servers/faketime.mjs";
import { isCi } from "../../scripts/servers.mjs";
import { writeDocs } from "./docs.ts";
import { HELP, parseOptions, type BackendSet, type ChaosOptions } from "./options.ts";
import type { Phase } from "./phases.ts";
import { startResources } from "./resources.ts";
import { runPhase, type PhaseResult } from "./run-phase.ts";
import { lineOf, textOf, verdictOf } from "./verdict.ts";

const CLIENTS = 4;
const KEYS = 6;
/** Starting and ending a phase takes a few seconds, so shorter ones prove little. */
const PHASE_SECONDS = { min: 6, max: 60 };

const stopped = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stopped.abort());

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") process.stdout.write(HELP);
  else process.exitCode = await run(options);
} catch (error) {
  console.error(error instanceof Error && process.env["DEBUG"] === undefined ? error.message : error);
  process.exitCode = 2;
}
// Not left to Node: with a connection of a proxy that was cut and reset while one side had ended it, Node 20 spins for ever
// in its own cleanup after the last event.
process.exit();

async function run(options: ChaosOptions): Promise<number> {
  const folder = `${process.cwd()}/.cache/chaos/${new Date().toISOString().replaceAll(":", "-")}-${process.pid}`;
  const faketime = options.phases.some((phase) => phase.setsServerClocks)
    ? await resolveFaketime()
    : undefined;
  const skipped: string[] = [];
  const rounds = plan(options).filter(({ phase, set }) => {
    if (!phase.setsServerClocks) return true;
    const settable = set.kinds.every((kind) => kind.setsClock);
    if (settable && faketime !== undefined && !("missing" in faketime)) return true;
    const why =
      settable && faketime !== undefined && "missing" in faketime ? faketime.missing : "no such clock";
    const line = `Skipped: phase ${phase.name} on ${set.kinds.map(({ name }) => name).join(", ")}: ${why}`;
    if (settable && isCi()) throw new Error(`in CI a missing tool is a failure: ${line}`);
    if (!skipped.includes(line)) skipped.push(line);
    return false;
  });
  console.log(`Seed ${options.seed}; ${rounds.length} phases`);
  const loadAtStart = loadavg()[0] ?? 0;
  const resources = await startResources();
  const results: PhaseResult[] = [];
  try {
    for (const [index, { phase, set, seconds }] of rounds.entries()) {
      if (stopped.signal.aborted) break;
      const own = `${folder}/${String(index).padStart(3, "0")}-${phase.name}`;
      mkdirSync(own, { recursive: true });
      const result = await runPhase(
        phase,
        {
          ...set,
          clients: CLIENTS,
          seed: options.seed + 10_000 * index,
          folder: own,
          keys: Array.from({ length: KEYS }, (_, key) => `phase-${index}-key-${key}`),
          faketime:
            phase.setsServerClocks && faketime !== undefined && !("missing" in faketime)
              ? faketime
              : undefined,
          plant: options.plant,
          resources,
        },
        { seconds, stopped: stopped.signal },
      );
      results.push(result);
      console.log(lineOf(result));
      if (result.violations.length === 0) rmSync(own, { recursive: true, force: true });
    }
  } finally {
    await resources.stop();
  }
  const about = {
    command: options.command,
    seed: options.seed,
    loadAtStart,
    versions: resources.versions,
    skipped,
  };
  const verdict = verdictOf(about, results);
  console.log(`\n${textOf(verdict)}`);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(verdict, undefined, 2)}\n`);
  if (options.docs) await writeDocs(verdict);
  if (verdict.violations.length === 0) {
    rmSync(folder, { recursive: true, force: true });
    return 0;
  }
  console.log(`The histories are in ${relative(process.cwd(), folder)}`);
  return 1;
}

interface Round {
  readonly phase: Phase;
  readonly set: BackendSet;
  readonly seconds: number;
}

/** Every phase on every set in turn, as often as fits, each equally long. */
function plan({ minutes, phases, sets }: ChaosOptions): readonly Round[] {
  const seconds = 60 * minutes;
  const pairs = phases.length * sets.length;
  const all = Math.max(pairs, Math.ceil(seconds / PHASE_SECONDS.max));
  const count = Math.max(1, Math.min(all, Math.floor(seconds / PHASE_SECONDS.min)));
  return Array.from({ length: count }, (_, index) => ({
    phase: phases[index % phases.length] as Phase,
    // Shifted by one after each round of phases, so that every phase meets every set.
    set: sets[(index + Math.floor(index / phases.length)) % sets.length] as BackendSet,
    seconds: seconds / count,
  }));
}
