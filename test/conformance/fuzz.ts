/**
 * The conformance fuzz: random sequences of operations against a backend and against the memory adapter side by side,
 * with pauses that end just before and just after locks do. A difference fails, with the shortest sequence that shows it and
 * how to replay it. This ties the memory adapter, over which the simulation runs the production code, to every other.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BackendSession, Deployment } from "../../src/backend.js";
import { putInService } from "../../src/testing/conformance/stage.js";
import { commands, meetAll, usualTtlMs, type Stand, type Step } from "./fuzz/commands.js";
import { createMemoryModel, Difference, type MemoryModel } from "./fuzz/memory-model.js";
import type { Asker } from "./fuzz/operation.js";
import type { ConformanceSetup } from "./run-conformance.js";

/** How much of it is run. */
export interface FuzzOptions {
  /**
   * Whether a second test restarts the backend: what the context's `restart` offers. The context must have the server
   * for itself. Default false.
   */
  readonly restarts?: boolean;
  /** No sequence begins or goes on later than this, in seconds for each test. Default 8. */
  readonly seconds?: number;
  /** How many sequences are under way at once, each in a setup of its own. Default 4; always 1 with restarts. */
  readonly lanes?: number;
  /** The TTL of locks whose end is waited for. Default: more than all that may blur it. */
  readonly ttlMs?: number;
}

/** A place for one sequence; called anew for each, with the number of its lane from 0. */
export type FuzzSetup = (lane: number) => ConformanceSetup | Promise<ConformanceSetup>;

const COMMANDS_MAX = 40;
/** The time is up long before. */
const RUNS_MAX = 1_000_000;
/** A sequence and its shrinking end in the time that is left. */
const TEST_MS_MIN = 60_000;

/** On a busy machine a round sees little. */
const ROUNDS_MAX = 4;

/** What every run must have seen, or it compared nothing. */
const KINDS = [
  "granted",
  "held",
  "extended",
  "recreated",
  "not-owner",
  '"raised"',
  '"refused"',
  '"released"',
];

/** Two sentences about a backend, or one without restarts. */
export function describeFuzz(title: string, setUp: FuzzSetup, options: FuzzOptions = {}): void {
  const { restarts = false, seconds = 8, lanes = 4, ...more } = options;
  const timeout = TEST_MS_MIN + 1_000 * seconds * (ROUNDS_MAX + 1);
  describe(`conformance fuzz: ${title}`, () => {
    it(
      "answers as the memory adapter does, whatever is asked in whatever order and pace",
      { timeout },
      async () => {
        await passes(setUp, {
          restarts: false,
          seconds,
          lanes,
          ...more,
          kinds: [...KINDS, "BACKEND_MARK_MISMATCH"],
        });
      },
    );
    if (!restarts) return;
    it("answers as the memory adapter does over restarts", { timeout }, async () => {
      await passes(setUp, { restarts: true, seconds, ...more, lanes: 1, kinds: ["quarantined"] });
    });
  });
}

interface Rounds extends Required<Omit<FuzzOptions, "ttlMs">>, Pick<FuzzOptions, "ttlMs"> {
  /** The answers that must have come. */
  readonly kinds: readonly string[];
}

/** Rounds until every kind of answer has come. */
async function passes(setUp: FuzzSetup, how: Rounds): Promise<void> {
  const counts = new Map<string, number>();
  const missing = (): readonly string[] => how.kinds.filter((kind) => !counts.has(kind));
  for (let round = 1; round === 1 || (round <= ROUNDS_MAX && missing().length > 0); round++) {
    await oneRound(setUp, how, counts);
    if (process.env["QUORUM_LOCK_FUZZ"] !== undefined) return;
  }
  expect(missing(), "answers that never came").toEqual([]);
}

/** Fails with the shortest sequence found on which the backend differs. */
async function oneRound(setUp: FuzzSetup, how: Rounds, counts: Map<string, number>): Promise<void> {
  const replay = process.env["QUORUM_LOCK_FUZZ"];
  const lanes = replay === undefined ? how.lanes : 1;
  // A replay takes what it takes.
  const forMs = replay === undefined ? 1_000 * how.seconds : Number.POSITIVE_INFINITY;
  const failures = await Promise.all(
    Array.from({ length: lanes }, (_, lane) => {
      const bounds = { interruptAfterTimeLimit: 1_000 * how.seconds, markInterruptAsFailure: false };
      const chosen = replay === undefined ? { ...bounds, numRuns: RUNS_MAX } : replayed(replay);
      return fuzz(() => setUp(lane), { ...how, parameters: chosen, counts, forMs });
    }),
  );
  const failure = failures.find((each) => each !== undefined);
  if (failure !== undefined) throw new Error(failure);
}

/** What a fuzz takes. */
export interface FuzzRun {
  readonly restarts: boolean;
  readonly parameters: fc.Parameters<unknown> & { readonly replayPath?: string };
  readonly counts?: Map<string, number>;
  /** As in {@link FuzzOptions}. */
  readonly ttlMs?: number;
  /** From its begin, by this process's clock, no sequence goes on longer. Default: for ever. */
  readonly forMs?: number;
}

/** The report of the first difference, shrunk; undefined when there was none. */
export async function fuzz(
  setUp: () => ConformanceSetup | Promise<ConformanceSetup>,
  run: FuzzRun,
): Promise<string | undefined> {
  const { restarts, counts = new Map<string, number>(), forMs = Number.POSITIVE_INFINITY } = run;
  const endsMs = performance.now() + forMs;
  const { replayPath, ...parameters } = run.parameters;
  const sequence = fc.commands(commands(restarts), {
    maxCommands: COMMANDS_MAX,
    size: "max",
    ...(replayPath === undefined ? {} : { replayPath }),
  });
  const once = async (steps: Iterable<Step>): Promise<void> => {
    const { context, drive, close } = await setUp();
    try {
      const untilMs = context.nowMs() + endsMs - performance.now();
      const shortMs = run.ttlMs ?? usualTtlMs(context);
      const playing = play(context, { counts, steps, shortMs, untilMs });
      await (drive === undefined ? playing : drive(playing));
    } finally {
      await close?.();
    }
  };
  let last: Promise<unknown> | undefined;
  const property = fc.asyncProperty(sequence, (steps) => {
    const running = once(steps);
    last = running.catch((error: unknown) => error);
    return running;
  });
  const details = (await fc.check(property, { includeErrorInReport: true, ...parameters })) as fc.RunDetails<
    [unknown]
  >;
  // When the time is up, what is under way goes on; it still asks the backend, and it may still find a difference.
  const atLast = await last;
  // Without a single sequence that ended in time it says that it failed.
  if (!details.failed || details.counterexample === null)
    return atLast instanceof Difference ? String(atLast) : undefined;
  const at = /replayPath="([^"]*)"/.exec(String(details.counterexample?.[0]))?.[1] ?? "";
  const again = `QUORUM_LOCK_FUZZ="${details.seed} ${details.counterexamplePath ?? ""} ${at}"`;
  return `${fc.defaultReportMessage(details)}\n\nReplay it by running the same test with ${again}`;
}

/** What `QUORUM_LOCK_FUZZ` says. */
export function replayed(text: string): FuzzRun["parameters"] {
  const [seed, path, replayPath] = text.split(" ");
  return {
    seed: Number(seed),
    endOnFailure: true,
    ...(path === undefined || path === "" ? {} : { path }),
    ...(replayPath === undefined || replayPath === "" ? {} : { replayPath }),
  };
}

/** One sequence, from a backend in service that nobody used before. */
async function play(
  context: ConformanceSetup["context"],
  what: Pick<Stand, "counts" | "shortMs" | "untilMs"> & { readonly steps: Iterable<Step> },
): Promise<void> {
  const { steps, ...how } = what;
  const begun = async (): Promise<{ model: MemoryModel; real: Stand }> => {
    const agreed = { ...context.deployment, quarantineMs: 2 * how.shortMs };
    const deployments: Readonly<Record<Asker, Deployment>> = {
      first: agreed,
      second: agreed,
      mismatched: { ...agreed, maxTtlMs: agreed.maxTtlMs + 1_000 },
    };
    const sessions: Readonly<Record<Asker, BackendSession>> = {
      first: await context.open(deployments.first),
      second: await context.open(deployments.second),
      mismatched: await context.open(deployments.mismatched),
    };
    const stand: Stand = {
      context,
      deployments,
      sessions,
      keys: [context.freshKey(), context.freshKey()],
      memories: [],
      fences: [],
      ...how,
    };
    const model = createMemoryModel(context, deployments);
    await begin(model, stand);
    return { model, real: stand };
  };
  await fc.asyncModelRun(
    begun,
    inTime(steps, () => context.nowMs() < how.untilMs),
  );
}

/** Steps as long as there is time. */
function* inTime(steps: Iterable<Step>, left: () => boolean): Iterable<Step> {
  for (const each of steps) {
    if (!left()) return;
    yield each;
  }
}

/** Backend and model in service, by whatever way the context has for it. */
async function begin(model: MemoryModel, stand: Stand): Promise<void> {
  const { context, sessions } = stand;
  await putInService(context, sessions.first);
  await model.observe({
    asker: "first",
    operation: { op: "status" },
    sentMs: context.nowMs(),
    answeredMs: context.nowMs(),
    wallMicros: context.proposal(),
    answer: undefined,
  });
  await model.observe({
    asker: "first",
    operation: { op: "bootstrap", memory: -1 },
    sentMs: context.nowMs(),
    answeredMs: context.nowMs(),
    wallMicros: context.proposal(),
    answer: undefined,
  });
  await meetAll(model, stand);
}
