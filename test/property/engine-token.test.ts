import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  clampProposal,
  higherFence,
  MAX_FENCE,
  mintFence,
  nextProposal,
  skewMicros,
} from "../../src/engine/token.js";

/** Small numbers, numbers around the present, and numbers around the end. */
const micros = fc.oneof(
  fc.bigInt({ min: 0n, max: 20n }),
  fc.bigInt({ min: 1_700_000_000_000_000n, max: 1_700_000_000_000_050n }),
  fc.bigInt({ min: MAX_FENCE - 20n, max: MAX_FENCE + 20n }),
);

const byValue = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

describe("proposals of one process", () => {
  it("are strictly increasing, whatever its wall clock does, until they end for good", () => {
    fc.assert(
      fc.property(fc.array(micros, { maxLength: 50 }), (wall) => {
        const proposals: bigint[] = [];
        let last = 0n;
        for (const now of wall) {
          const proposal = nextProposal(last, now);
          const smallest =
            [...Array(3).keys()].map((i) => now + BigInt(i)).find((each) => each > last) ?? last + 1n;
          expect(proposal).toBe(smallest < 9_007_199_254_740_990n ? smallest : undefined);
          if (proposal === undefined) continue;
          expect(proposal >= now).toBe(true);
          proposals.push(proposal);
          last = proposal;
        }
        expect(new Set(proposals).size).toBe(proposals.length);
        expect(proposals).toEqual([...proposals].sort(byValue));
      }),
      { numRuns: 500 },
    );
  });
});

describe("a clamped proposal", () => {
  it("is the middle one of itself and the two ends of the window", () => {
    fc.assert(
      fc.property(micros, micros, fc.bigInt({ min: 0n, max: 20n }), (proposal, now, skew) => {
        const middle = [proposal, now - skew, now + skew].sort(byValue)[1];
        expect(clampProposal(proposal, now, skew)).toBe(middle);
      }),
      { numRuns: 1_000 },
    );
  });

  it("has a window of so many thousand microseconds", () => {
    fc.assert(
      fc.property(fc.nat(3_600_000), (ms) => {
        expect(skewMicros(ms)).toBe(BigInt(ms) * 1_000n);
      }),
    );
  });
});

describe("a minted fence", () => {
  it("is the smallest number above the counter that is not below the proposal, found by counting", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 40 }), fc.integer({ min: -5, max: 40 }), (counter, proposal) => {
        let fence = 0;
        while (!(fence > counter && fence >= proposal)) fence++;
        expect(mintFence(BigInt(counter), BigInt(proposal))).toBe(BigInt(fence));
        // The same at the upper end of the range.
        const up = MAX_FENCE - 30n;
        const high = BigInt(fence) + up;
        expect(mintFence(BigInt(counter) + up, BigInt(proposal) + up)).toBe(
          high > 2n ** 53n - 2n ? undefined : high,
        );
      }),
      { numRuns: 1_000 },
    );
  });

  it("makes a strictly increasing row, whatever is proposed, raised and healed in between", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(micros, fc.option(micros, { nil: undefined })), { maxLength: 40 }),
        (steps) => {
          let counter = 0n;
          let last = 0n;
          for (const [proposal, raisedTo] of steps) {
            if (raisedTo !== undefined) counter = higherFence(counter, raisedTo);
            const fence = mintFence(counter, proposal);
            expect(fence === undefined).toBe(counter >= MAX_FENCE || proposal > MAX_FENCE);
            if (fence === undefined) continue;
            expect(fence > last && fence > counter && fence <= MAX_FENCE).toBe(true);
            counter = last = fence;
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
