import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { quarantineMs, validityMs } from "../../src/engine/validity.js";

/** Sums and quotients of doubles are not exact. */
const ROUNDING_MS = 1e-6;

/** A clock that shows `phase + rate * t`, cut down to a multiple of its grain. */
interface Clock {
  readonly rate: number;
  readonly phase: number;
  readonly grainMs: number;
}

function show(clock: Clock, trueMs: number): number {
  const exact = clock.phase + clock.rate * trueMs;
  return clock.grainMs === 0 ? exact : Math.floor(exact / clock.grainMs) * clock.grainMs;
}

/** The last point of true time at which the clock shows less than `limit`. */
function showsLessUntil(clock: Clock, limit: number): number {
  const reached = clock.grainMs === 0 ? limit : Math.ceil(limit / clock.grainMs) * clock.grainMs;
  return (reached - clock.phase) / clock.rate;
}

/** A lease, from the first request on; true time 0 is when the client looked at its clock. */
interface Lease {
  readonly ttlMs: number;
  readonly earlyByMs: number;
  readonly client: Clock;
  /** How fast the backend's clock runs. */
  readonly backendRate: number;
  /** How long the request took, in true time. */
  readonly hopMs: number;
}

/** When the client stops to rely on the lease, in true time. */
function usedUntil(lease: Lease, validity: number): number {
  return showsLessUntil(lease.client, show(lease.client, 0) + validity);
}

/** When the backend may forget the lock at the earliest, in true time. */
function keptUntil(lease: Lease): number {
  return lease.hopMs + (lease.ttlMs - lease.earlyByMs) / lease.backendRate;
}

const driftPpm = fc.integer({ min: 0, max: 100_000 });
/** From -1 to 1: where in the allowed range a rate lies, often at its ends. */
const side = fc.oneof(fc.constantFrom(-1, 1), fc.double({ min: -1, max: 1, noNaN: true }));
const rateOf = (ppm: number, at: number): number => 1 + (at * ppm) / 1e6;
const grainMs = fc.constantFrom(0, 1, 1, 10, 16);
const ttlMs = fc.oneof(fc.integer({ min: 50, max: 1_000 }), fc.integer({ min: 1_000, max: 86_400_000 }));

const world = fc
  .record({
    driftPpm,
    ttlMs,
    earlyByMs: fc.constantFrom(0, 1, 2),
    grainMs,
    clientSide: side,
    backendSide: side,
    phase: fc.double({ min: 0, max: 1_000, noNaN: true }),
    hopMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 5_000, noNaN: true })),
  })
  .map((drawn) => ({
    ...drawn,
    lease: {
      ttlMs: drawn.ttlMs,
      earlyByMs: drawn.earlyByMs,
      client: { rate: rateOf(drawn.driftPpm, drawn.clientSide), phase: drawn.phase, grainMs: drawn.grainMs },
      backendRate: rateOf(drawn.driftPpm, drawn.backendSide),
      hopMs: drawn.hopMs,
    } satisfies Lease,
  }));

describe("validity", () => {
  it("never lasts longer than the lock on any backend, whatever rates, phases and grains are allowed", () => {
    fc.assert(
      fc.property(world, ({ driftPpm, ttlMs, earlyByMs, grainMs, lease }) => {
        const validity = validityMs(ttlMs, { driftPpm, earlyByMs, grainMs });
        // Without any validity nobody relies on the lease.
        if (validity === 0) return;
        expect(usedUntil(lease, validity)).toBeLessThanOrEqual(keptUntil(lease) + ROUNDING_MS);
      }),
      { numRuns: 5_000 },
    );
  });

  it("is tight: one grain more would outlast the lock of the worst backend", () => {
    fc.assert(
      fc.property(world, ({ driftPpm, ttlMs, earlyByMs, grainMs }) => {
        const validity = validityMs(ttlMs, { driftPpm, earlyByMs, grainMs });
        if (validity === 0) return;
        const worst: Lease = {
          ttlMs,
          earlyByMs,
          client: { rate: rateOf(driftPpm, -1), phase: 0, grainMs },
          backendRate: rateOf(driftPpm, 1),
          hopMs: 0,
        };
        expect(usedUntil(worst, validity + grainMs + 0.001)).toBeGreaterThan(keptUntil(worst));
      }),
      { numRuns: 2_000 },
    );
  });

  it("grows with the TTL and shrinks with everything that clocks may get wrong", () => {
    fc.assert(
      fc.property(world, ({ driftPpm, ttlMs, earlyByMs, grainMs }) => {
        const bounds = { driftPpm, earlyByMs, grainMs };
        const ms = validityMs(ttlMs, bounds);
        expect(ms).toBeGreaterThanOrEqual(0);
        expect(ms).toBeLessThanOrEqual(ttlMs);
        expect(validityMs(ttlMs + 1, bounds)).toBeGreaterThanOrEqual(ms);
        for (const name of ["driftPpm", "earlyByMs", "grainMs"] as const) {
          expect(validityMs(ttlMs, { ...bounds, [name]: bounds[name] + 1 })).toBeLessThanOrEqual(ms);
        }
      }),
    );
  });
});

describe("quarantine", () => {
  const forgotten = fc.record({
    driftPpm,
    maxTtlMs: ttlMs,
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    clockSkewMs: fc.integer({ min: 0, max: 10_000 }),
    lateByMs: fc.constantFrom(0, 1, 1_500),
    forgetfulSide: side,
    otherSide: side,
    /** The mark is written after the loss, in milliseconds. */
    noticedAfterMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 10_000 })),
  });

  it("outlasts, by the forgetful backend's clock, every lock that it may have forgotten, by anybody's, and two skews", () => {
    fc.assert(
      fc.property(forgotten, (drawn) => {
        const ms = quarantineMs(drawn);
        const forgetful = rateOf(drawn.driftPpm, drawn.forgetfulSide);
        const other = rateOf(drawn.driftPpm, drawn.otherSide);
        // At true time 0 the lock was granted by all, and forgotten by one.
        const votesAgain = drawn.noticedAfterMs + ms / forgetful;
        const goneEverywhere = (drawn.maxTtlMs * drawn.share) / other;
        const skews = (2 * drawn.clockSkewMs) / forgetful;
        expect(votesAgain).toBeGreaterThan(goneEverywhere + skews);
      }),
      { numRuns: 5_000 },
    );
  });

  it("is not much longer than the worst case needs", () => {
    fc.assert(
      fc.property(forgotten, ({ driftPpm, maxTtlMs, clockSkewMs, lateByMs }) => {
        const fast = rateOf(driftPpm, 1);
        const slow = rateOf(driftPpm, -1);
        const needed = fast * (maxTtlMs / slow) + 2 * clockSkewMs + lateByMs;
        const ms = quarantineMs({ driftPpm, maxTtlMs, clockSkewMs, lateByMs });
        expect(ms - needed).toBeGreaterThan(1.9);
        expect(ms - needed).toBeLessThan(3.1);
      }),
    );
  });

  it("is longer than the validity of any lease", () => {
    fc.assert(
      fc.property(forgotten, ({ driftPpm, maxTtlMs, clockSkewMs, lateByMs }) => {
        const validity = validityMs(maxTtlMs, { driftPpm, earlyByMs: 0, grainMs: 0 });
        expect(quarantineMs({ driftPpm, maxTtlMs, clockSkewMs, lateByMs })).toBeGreaterThan(validity);
      }),
    );
  });
});
