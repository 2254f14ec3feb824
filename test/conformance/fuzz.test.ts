/** The conformance fuzz over backends in virtual time, and over backends that are wrong on purpose. */
import { describe, expect, it } from "vitest";
import { memory } from "../../src/adapters/memory.js";
import type { BackendSession } from "../../src/backend.js";
import { seededRandom } from "../../src/testing/random.js";
import { BREAKS, type Break } from "./breaks.js";
import { fuzz, replayed } from "./fuzz.js";
import { twinBackend } from "./twin-backend.js";
import { virtualSetup, type MakeBackend } from "./virtual-context.js";

const twin =
  (wrong?: Break, durable?: boolean): MakeBackend =>
  (clock, incarnation) =>
    twinBackend({ clock, incarnation }, wrong, durable);

const COARSE_MS = 40;

/**
 * A store that counts in coarse steps: records end late, each by another figure; of a record it tells what is sure to be
 * left, and whoever is refused when it is sure to be over.
 */
const coarse: MakeBackend = (clock, newIncarnation) => {
  const backend = memory({ clock, newIncarnation });
  const random = seededRandom(1);
  const late = (ms: number): number => ms + COARSE_MS * random();
  return {
    ...backend,
    capabilities: { ...backend.capabilities, lateByMs: COARSE_MS },
    open(deployment): BackendSession {
      const session = backend.open(deployment);
      return {
        ...session,
        async acquire(request) {
          const reply = await session.acquire({ ...request, ttlMs: late(request.ttlMs) });
          if (reply.kind !== "held" || reply.remainingMs === undefined) return reply;
          return { ...reply, remainingMs: late(reply.remainingMs) };
        },
        extend: (request) => session.extend({ ...request, ttlMs: late(request.ttlMs) }),
        async inspect(key) {
          const { lock, counter } = await session.inspect(key);
          if (lock === undefined) return { lock, counter };
          return { lock: { ...lock, remainingMs: Math.max(0, lock.remainingMs - COARSE_MS) }, counter };
        },
      };
    },
  };
};

const SOUND: Readonly<Record<string, MakeBackend>> = {
  "the memory adapter": (clock, newIncarnation) => memory({ clock, newIncarnation }),
  "the plain twin": twin(),
  "the plain twin, durable": twin(undefined, true),
  "a store that counts in coarse steps": coarse,
};

/** What the fuzz does not reach, and why; the conformance list has cases for it. */
const OUT_OF_REACH: Partial<Record<Break, string>> = {
  "acquire is not atomic": "one operation at a time",
  "stops one early": "no counter near its end",
  "counts past the end": "no counter near its end",
  "full counter stores the lock": "no counter near its end",
  "retention not renewed by extend": "no retention ends",
  "retention not renewed by raise": "no retention ends",
  "retention not renewed by release": "no retention ends",
  "ignores backends": "the mismatched session differs in maxTtlMs",
  "ignores quorum": "the mismatched session differs in maxTtlMs",
  "refuses all that differs": "the others agree in everything",
  "restart guard off is ignored": "the guard is on",
  "identity anew each time": "which object an identity is",
  "identity differs in held": "names of servers differ between backends",
  "keys trimmed": "keys are plain",
  "keys folded": "keys are plain",
  "keys normalized": "keys are plain",
  "keys end at NUL": "keys are plain",
  "keys cut at 255": "keys are plain",
  "keys without braces": "keys are plain",
  "keys share suffixes": "keys are plain",
  "long keys refused": "keys are plain",
  "close forgets": "no session is closed",
  "list shows expired locks": "nothing is listed",
  "list ignores the prefix": "nothing is listed",
  "list ends after a page": "nothing is listed",
  "quarantine without a guard": "the guard is on",
  "tickets in any order": "nobody stands in line",
  "nobody is called": "nobody stands in line",
  "no reservation": "nobody stands in line",
  "endless reservation": "nobody stands in line",
  "reservation shown as a lock": "nobody stands in line",
  "reservation healed": "nobody stands in line",
  "the lock leaves the ticket": "nobody stands in line",
  "leaving does nothing": "nobody stands in line",
  "leaving drops the reservation only": "nobody stands in line",
  "the second is not told": "nobody stands in line",
  "forced release calls nobody": "nobody stands in line",
  "a release forgets its ticket": "nobody stands in line",
  "a release calls before its ticket stands": "nobody stands in line",
  "a release of nothing stands in line": "nobody stands in line",
  "a tie goes to the elder session": "nobody stands in line",
  "examine frees locks": "nothing is examined",
};

const RUNS = 300;
/** It ends at the first difference. */
const RUNS_TO_FIND = 2_000;

describe("the conformance fuzz", () => {
  it.each(Object.entries(SOUND))("finds no difference between the memory adapter and %s", async (_, make) => {
    const counts = new Map<string, number>();
    const parameters = { numRuns: RUNS };
    expect(await fuzz(() => virtualSetup(make), { restarts: true, parameters, counts })).toBeUndefined();
    for (const kind of [
      "granted",
      "held",
      "extended",
      "recreated",
      '"raised"',
      '"released"',
      "quarantined",
    ]) {
      expect(counts.get(kind)).toBeGreaterThan(20);
    }
  });

  const within = (Object.keys(BREAKS) as Break[]).filter((each) => OUT_OF_REACH[each] === undefined);
  it.each(within)("finds a backend where: %s", async (wrong) => {
    const parameters = { numRuns: RUNS_TO_FIND, seed: 1, endOnFailure: true };
    const report = await fuzz(() => virtualSetup(twin(wrong)), { restarts: true, parameters });
    expect(report).toMatch(/Got (Difference|ConformanceFailure)/);
  });

  it.each([
    ["expires late", { lateByMs: 3 }, true],
    ["expires late", { lateByMs: 2 }, false],
    ["expires early", { earlyByMs: 1 }, true],
    ["expires early", { earlyByMs: 0.5 }, false],
  ] as const)("allows what a backend declares and no more: %s, %o: %s", async (wrong, declared, passes) => {
    const make: MakeBackend = (clock, incarnation) => {
      const made = twinBackend({ clock, incarnation }, wrong);
      return { ...made, capabilities: { ...made.capabilities, ...declared } };
    };
    const parameters = { numRuns: RUNS, seed: 1, endOnFailure: true };
    const report = await fuzz(() => virtualSetup(make), { restarts: true, parameters });
    expect(report === undefined).toBe(passes);
  });

  it("shrinks what it finds, and says how to find it again", async () => {
    const wrong = (): ReturnType<typeof virtualSetup> => virtualSetup(twin("extend shortens"));
    const how = { restarts: false, parameters: { numRuns: RUNS, seed: 7 } };
    const report = (await fuzz(wrong, how)) ?? "";
    const found = /Counterexample: \[(.*?)\s*\/\*/.exec(report)?.[1];
    expect(found?.match(/acquire|extend/g)).toEqual(["acquire", "extend"]);
    const again = /QUORUM_LOCK_FUZZ="([^"]*)"/.exec(report)?.[1] ?? "";
    const second = await fuzz(wrong, { ...how, parameters: replayed(again) });
    expect(second).toContain("Property failed after 1 tests");
    expect(second).toContain(`Counterexample: [${found} /*`);
  });
});
