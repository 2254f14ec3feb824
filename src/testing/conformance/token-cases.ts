/** Conformance: what a backend mints, what it remembers, and how raise repairs it. */
import { MAX_FENCE } from "../../engine/token.js";
import { check, checkBetween, checkRejects, checkSame } from "./check.js";
import type { ConformanceCase } from "./case.js";
import { ALICE, BOB, CAROL, stageOn, stageWith } from "./stage.js";

const DAY_MICROS = 86_400_000_000n;

/** Fences: proposals, the counter and its limits. */
export const tokenCases: readonly ConformanceCase[] = [
  {
    name: "equal proposals give equal fences on fresh keys: the proposal itself",
    async run(context) {
      const one = await stageOn(context);
      const other = stageWith(context, one.session);
      const proposal = context.proposal();
      checkSame("the fence", { is: await one.grant(ALICE, { proposal }), should: proposal });
      checkSame("the fence of another key", { is: await other.grant(BOB, { proposal }), should: proposal });
    },
  },
  {
    name: "a proposal above the counter is minted as it is",
    async run(context) {
      const stage = await stageOn(context);
      await stage.grant(ALICE);
      await stage.release(ALICE);
      const proposal = context.proposal();
      checkSame("the fence", { is: await stage.grant(BOB, { proposal }), should: proposal });
    },
  },
  {
    name: "a proposal at or below the counter gives the counter and one",
    async run(context) {
      const stage = await stageOn(context);
      const proposal = context.proposal();
      const first = await stage.grant(ALICE, { proposal });
      await stage.release(ALICE);
      const second = await stage.grant(BOB, { proposal });
      checkSame("the fence for the same proposal", { is: second, should: first + 1n });
      await stage.release(BOB);
      const third = await stage.grant(CAROL, { proposal: proposal - 1_000n });
      checkSame("the fence for an older proposal", { is: third, should: second + 1n });
    },
  },
  {
    name: "fences grow across release, forced release and expiry",
    async run(context) {
      const stage = await stageOn(context);
      const proposal = context.proposal();
      const fences = [await stage.grant(ALICE, { proposal })];
      await stage.release(ALICE);
      fences.push(await stage.grant(BOB, { proposal: proposal - 5n }));
      await stage.session.forceRelease(stage.key);
      fences.push(await stage.grant(CAROL, { proposal: proposal - 9n, ttlMs: stage.shortMs }));
      await stage.outlive(stage.shortMs);
      fences.push(await stage.grant(ALICE, { proposal: proposal - 20n }));
      const should = [proposal, proposal + 1n, proposal + 2n, proposal + 3n];
      checkSame("the row of fences", { is: fences, should });
    },
  },
  {
    name: "a proposal far ahead of the backend's clock is moved to it",
    needs: ["clamps"],
    async run(context) {
      const stage = await stageOn(context);
      const before = context.proposal();
      const fence = await stage.grant(ALICE, { proposal: before + 400n * DAY_MICROS });
      checkBetween("the fence", {
        is: fence,
        ...aroundNow(before, context.proposal(), context.deployment.clockSkewMs),
      });
      await stage.release(ALICE);
      const most = await stage.grant(BOB, { proposal: MAX_FENCE - 1n });
      check(most > fence, "a fence must be larger than the one before it, whatever was proposed");
      checkBetween("the fence", {
        is: most,
        ...aroundNow(before, context.proposal(), context.deployment.clockSkewMs),
      });
    },
  },
  {
    name: "a proposal far behind the backend's clock is moved to it",
    needs: ["clamps"],
    async run(context) {
      const stage = await stageOn(context);
      const before = context.proposal();
      const fence = await stage.grant(ALICE, { proposal: 1n });
      checkBetween("the fence", {
        is: fence,
        ...aroundNow(before, context.proposal(), context.deployment.clockSkewMs),
      });
      const fresh = stageWith(context, stage.session);
      const old = await fresh.grant(BOB, { proposal: before - 400n * DAY_MICROS });
      checkBetween("the fence", {
        is: old,
        ...aroundNow(before, context.proposal(), context.deployment.clockSkewMs),
      });
    },
  },
  {
    name: "a counter at 2^53 - 3 counts exactly once more",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      await stage.raise({ owner: ALICE, fence, token: MAX_FENCE - 1n });
      checkSame("the counter", { is: (await stage.inspect()).counter, should: MAX_FENCE - 1n });
      await stage.release(ALICE);
      checkSame("the fence", { is: await stage.grant(BOB), should: MAX_FENCE });
      checkSame("the fence of a duplicate", { is: await stage.grant(BOB), should: MAX_FENCE });
    },
  },
  {
    name: "a counter at 2^53 - 2 counts no further, and nothing is stored",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      await stage.raise({ owner: ALICE, fence, token: MAX_FENCE });
      await stage.release(ALICE);
      await checkRejects("an acquire", "BACKEND_COUNTER_BROKEN", stage.acquire(BOB));
      const { lock, counter } = await stage.inspect();
      checkSame("the lock", { is: lock, should: undefined });
      checkSame("the counter", { is: counter, should: MAX_FENCE });
    },
  },
  {
    name: "fences near 2^53 are kept to the last digit",
    async run(context) {
      const stage = await stageOn(context);
      let fence = await stage.grant(ALICE);
      for (const below of [9n, 7n, 4n]) {
        const token = MAX_FENCE - below;
        await stage.raise({ owner: ALICE, fence, token });
        await stage.release(ALICE);
        fence = await stage.grant(ALICE);
        checkSame("the fence", { is: fence, should: token + 1n });
        checkSame("the fence of the lock", { is: (await stage.inspect()).lock?.fence, should: token + 1n });
      }
    },
  },
  {
    name: "the counter outlives release and expiry",
    async run(context) {
      const stage = await stageOn(context);
      const first = await stage.grant(ALICE);
      await stage.release(ALICE);
      checkSame("the counter after a release", { is: (await stage.inspect()).counter, should: first });
      const second = await stage.grant(BOB, { ttlMs: stage.shortMs });
      await stage.outlive(stage.shortMs);
      checkSame("the counter after an expiry", { is: (await stage.inspect()).counter, should: second });
    },
  },
  {
    name: "the counter is kept for the retention time after its last use",
    async run(context) {
      const retentionMs = 4 * (await stageOn(context)).shortMs;
      const uses = ["extend", "raise", "release"] as const;
      const kept = await Promise.all(
        uses.map(async (use) => {
          const stage = await stageOn(context, { tokenRetentionMs: retentionMs });
          const fence = await stage.grant(ALICE, { ttlMs: retentionMs });
          await context.waitMs(retentionMs * 0.6);
          if (use === "extend") await stage.extend(ALICE, { token: fence, ttlMs: retentionMs });
          else if (use === "raise") await stage.raise({ owner: ALICE, fence, token: fence });
          else await stage.release(ALICE);
          await context.waitMs(retentionMs * 0.6);
          return (await stage.inspect()).counter === fence ? [] : [`forgotten after the ${use}`];
        }),
      );
      checkSame("what became of the counters", { is: kept.flat(), should: [] });
    },
  },
];

function aroundNow(before: bigint, now: bigint, clockSkewMs: number): { min: bigint; max: bigint } {
  // The backend's clock may itself be one skew away from ours.
  const skew = 2n * BigInt(clockSkewMs) * 1000n;
  return { min: before - skew, max: now + skew };
}
