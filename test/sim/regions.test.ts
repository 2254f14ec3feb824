/** The planet in virtual time: deterministic, and in its uncontended part exactly what the cost model says. */
import { describe, expect, it } from "vitest";
import { drive } from "./drain.js";
import {
  CLIENTS,
  nearestQuorumMs,
  NO_JITTER,
  PLACEMENTS,
  ROUND_TRIP_MS,
  roundTripMs,
  runContended,
  runUncontended,
  USUAL_JITTER,
  type Region,
} from "./regions.js";

const SIZES = [3, 5, 7] as const;
const WORK = { holdMs: 50, pauseMs: 100, forMs: 20_000 };

describe("a planet of regions", () => {
  it("has a round trip for every two regions, the same both ways", () => {
    const regions = Object.keys(ROUND_TRIP_MS) as Region[];
    for (const a of regions) {
      for (const b of regions) {
        expect(roundTripMs(a, b)).toBeGreaterThan(0);
        expect(roundTripMs(a, b)).toBe(roundTripMs(b, a));
      }
    }
  });

  it("gives the same figures for the same seed, and others for another one", async () => {
    const figures = (seed: number): Promise<unknown> => {
      const options = { servers: PLACEMENTS[5], clients: CLIENTS, seed, jitter: USUAL_JITTER };
      return Promise.all([drive(runUncontended(options, 30)), drive(runContended(options, WORK))]);
    };
    const first = await figures(1);
    expect(await figures(1)).toEqual(first);
    expect(await figures(2)).not.toEqual(first);
  });

  it.each(SIZES)(
    "grants a free key in the round trip to the q-th nearest of %i servers, always",
    async (n) => {
      const options = { servers: PLACEMENTS[n], clients: CLIENTS, seed: 1, jitter: NO_JITTER };
      const all = await drive(runUncontended(options, 40));
      expect(all).toHaveLength(CLIENTS.length);
      for (const { client, acquireMs, fast, tried } of all) {
        expect(tried).toBe(40);
        expect(fast).toBe(40);
        expect(acquireMs).toHaveLength(40);
        const expected = nearestQuorumMs(client, PLACEMENTS[n]);
        for (const ms of acquireMs) expect(ms).toBeCloseTo(expected, 6);
      }
    },
  );

  it("takes a little longer with jitter, and at the median no more than the jitter", async () => {
    const options = { servers: PLACEMENTS[5], clients: CLIENTS, seed: 1, jitter: USUAL_JITTER };
    for (const { client, acquireMs } of await drive(runUncontended(options, 100))) {
      const median = acquireMs[50] ?? 0;
      const least = nearestQuorumMs(client, PLACEMENTS[5]);
      expect(median).toBeGreaterThan(least);
      expect(median).toBeLessThan(least * (1 + USUAL_JITTER.share) + 1);
    }
  });

  it("grants everything without the regions that are cut off, at the price of the next nearest, and nothing inside of them", async () => {
    for (const cut of [PLACEMENTS[5].slice(0, 1), PLACEMENTS[5].slice(1, 3)]) {
      const options = { servers: PLACEMENTS[5], clients: CLIENTS, seed: 1, jitter: NO_JITTER, cut };
      for (const { client, acquireMs } of await drive(runUncontended(options, 20))) {
        if (cut.includes(client)) {
          expect(acquireMs).toEqual([]);
          continue;
        }
        const trips = PLACEMENTS[5]
          .filter((server) => !cut.includes(server))
          .map((server) => roundTripMs(client, server))
          .sort((a, b) => a - b);
        for (const ms of acquireMs) expect(ms).toBeCloseTo(trips[2] ?? 0, 6);
        expect(acquireMs).toHaveLength(20);
      }
    }
  });

  it("grants nothing to anybody when a majority is cut off", async () => {
    const options = {
      servers: PLACEMENTS[3],
      clients: CLIENTS,
      seed: 1,
      jitter: NO_JITTER,
      cut: PLACEMENTS[3].slice(0, 2),
    };
    for (const { acquireMs } of await drive(runUncontended(options, 3))) expect(acquireMs).toEqual([]);
  });

  it("lets every region have a contended key, one after the other", async () => {
    const options = { servers: PLACEMENTS[5], clients: CLIENTS, seed: 1, jitter: USUAL_JITTER };
    const { holds, holdsOf, handOverMs, attempts } = await drive(runContended(options, WORK));
    expect(holds).toBeGreaterThan(20);
    expect(attempts).toBeGreaterThanOrEqual(holds);
    expect(Math.min(...holdsOf)).toBeGreaterThan(0);
    expect(handOverMs).toHaveLength(holds - 1);
    // One at a time, as every exclusion: all holds together fit into the time.
    expect(holds * WORK.holdMs).toBeLessThan(WORK.forMs + 30_000);
  });
});
