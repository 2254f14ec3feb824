/**
 * Trial locks for `check`: the part of the conformance list that is safe on a backend in use. It works on fresh keys of
 * its own, which are gone soon after the longest TTL, counters included, and changes neither the mark nor anybody's lock.
 */
import { randomBytes } from "node:crypto";
import type { Backend, BackendSession, Deployment } from "../backend.js";
import { BackendError } from "../errors.js";
import {
  conformanceCases,
  ConformanceFailure,
  missingNeeds,
  type ConformanceCase,
  type ConformanceContext,
} from "../testing/conformance.js";

/** What became of the cases on one backend. */
export interface Trial {
  readonly kept: number;
  /** Promises that were broken twice in a row. */
  readonly broken: readonly BrokenPromise[];
}

/** A promise of the contract that a backend did not keep. */
export interface BrokenPromise {
  /** The case's sentence. */
  readonly promise: string;
  readonly what: string;
}

/** Where and how. */
export interface TrialPlace {
  readonly backend: Backend;
  readonly deployment: Deployment;
  /** How far the backend's wall clock is ahead of ours, in milliseconds: its clock is judged elsewhere. */
  readonly offsetMs: number;
  readonly latencyMs: number;
}

/** Before the keys of all trials. */
export const TRIAL_PREFIX = "quorum-lock-check-";

const CASES_AT_ONCE = 8;
/** So that counters end soon, too; some stores count it from the longest TTL on. */
const RETENTION_MS = 15_000;
/**
 * How far proposals may be from the backend's clock. It stands in no mark, and must be more than a case takes: cases
 * count proposals up from one moment.
 */
const SKEW_MS = 120_000;
/** Two machines that are busy. */
const TOLERANCE_MS = 200;
/** No case takes longer where the backend answers. */
const CASE_MS_MAX = 30_000;

/** Tries a backend that is in service. Rejects only where it cannot be opened. */
export async function tryBackend(place: TrialPlace): Promise<Trial> {
  const run = randomBytes(6).toString("hex");
  const keys: string[] = [];
  const sessions: BackendSession[] = [];
  const context = contextOf(place, {
    freshKey: () => {
      const key = `${TRIAL_PREFIX}${run}-${keys.length}`;
      keys.push(key);
      return key;
    },
    opened: (session) => sessions.push(session),
  });
  try {
    const cases = conformanceCases.filter((each) => missingNeeds(each, context).length === 0);
    const broken: BrokenPromise[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (let each = cases[next++]; each !== undefined; each = cases[next++]) {
        // Once may be a stall of this machine or of the other one.
        const what = (await runCase(each, context)) && (await runCase(each, context));
        if (what !== undefined) broken.push({ promise: each.name, what });
      }
    };
    await Promise.all(Array.from({ length: CASES_AT_ONCE }, work));
    return { kept: cases.length - broken.length, broken };
  } finally {
    await cleanUp(await context.open(), keys);
    await Promise.allSettled(sessions.map((session) => session.close()));
  }
}

function contextOf(
  { backend, deployment, offsetMs, latencyMs }: TrialPlace,
  notes: { readonly freshKey: () => string; readonly opened: (session: BackendSession) => void },
): ConformanceContext {
  let last = BigInt(Math.round((Date.now() + offsetMs) * 1000));
  const own = { ...deployment, tokenRetentionMs: RETENTION_MS, clockSkewMs: SKEW_MS };
  return {
    capabilities: backend.capabilities,
    deployment: own,
    toleranceMs: TOLERANCE_MS + 2 * latencyMs,
    shared: true,
    freshKey: notes.freshKey,
    open(overrides): BackendSession {
      const session = harmless(backend.open({ ...own, ...overrides }));
      notes.opened(session);
      return session;
    },
    // Never put into service by a trial.
    inService: async () => undefined,
    proposal: () => ++last,
    nowMs: () => performance.now(),
    waitMs: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  };
}

/** A case that would change what all clients share, and does not say so, is told and not obeyed. */
function harmless(session: BackendSession): BackendSession {
  const refuse = (): Promise<never> =>
    Promise.reject(new ConformanceFailure("the case touches more than its own keys: it needs to be alone"));
  return { ...session, bootstrap: refuse, join: refuse, quarantine: refuse };
}

/** What went wrong; undefined when all went well. */
async function runCase(each: ConformanceCase, context: ConformanceContext): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve("it did not end"), CASE_MS_MAX);
  });
  const outcome = each.run(context).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  try {
    return await Promise.race([outcome, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Locks of keys that were made longer end by themselves. */
async function cleanUp(session: BackendSession, keys: readonly string[]): Promise<void> {
  await Promise.allSettled(
    keys.map((key) =>
      session.forceRelease(key).catch((error: unknown) => {
        // Its locks have short lives; whoever reads the verdict knows of the fault.
        if (!(error instanceof BackendError)) throw error;
      }),
    ),
  );
}
