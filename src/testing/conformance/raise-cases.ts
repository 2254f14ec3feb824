/** Conformance: raise makes the backend that granted remember a larger token, and nothing else. */
import { check, checkSame } from "./check.js";
import type { ConformanceCase } from "./case.js";
import { ALICE, BOB, stageOn } from "./stage.js";

/** Raise. */
export const raiseCases: readonly ConformanceCase[] = [
  {
    name: "a raise by owner and fence is remembered: the next grant is larger",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      const token = fence + 1_000_000_000n;
      checkSame("the reply", { is: await stage.raise({ owner: ALICE, fence, token }), should: "raised" });
      checkSame("the counter", { is: (await stage.inspect()).counter, should: token });
      await stage.release(ALICE);
      checkSame("the next fence", { is: await stage.grant(BOB), should: token + 1n });
    },
  },
  {
    name: "a raise of another owner is refused and changes nothing",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      const reply = await stage.raise({ owner: BOB, fence, token: fence + 100n });
      checkSame("the reply", { is: reply, should: "refused" });
      checkSame("the counter", { is: (await stage.inspect()).counter, should: fence });
    },
  },
  {
    name: "a raise with another fence than the granted one is refused and changes nothing",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      for (const other of [fence - 1n, fence + 1n]) {
        const reply = await stage.raise({ owner: ALICE, fence: other, token: fence + 100n });
        checkSame("the reply", { is: reply, should: "refused" });
      }
      checkSame("the counter", { is: (await stage.inspect()).counter, should: fence });
    },
  },
  {
    name: "a raise after the same owner was granted anew needs the new fence",
    async run(context) {
      const stage = await stageOn(context);
      const first = await stage.grant(ALICE);
      await stage.release(ALICE);
      const second = await stage.grant(ALICE);
      const late = await stage.raise({ owner: ALICE, fence: first, token: second + 100n });
      checkSame("the reply to the old fence", { is: late, should: "refused" });
      checkSame("the counter", { is: (await stage.inspect()).counter, should: second });
    },
  },
  {
    name: "a raise never lowers the counter",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      await stage.raise({ owner: ALICE, fence, token: fence + 100n });
      for (const token of [fence + 50n, fence, 1n]) {
        checkSame("the reply", { is: await stage.raise({ owner: ALICE, fence, token }), should: "raised" });
        checkSame("the counter", { is: (await stage.inspect()).counter, should: fence + 100n });
      }
    },
  },
  {
    name: "a raise leaves the lock, its fence and its expiry as they are",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE, { ttlMs: stage.shortMs });
      await context.waitMs(stage.shortMs / 3);
      await stage.raise({ owner: ALICE, fence, token: fence + 100n });
      const { lock } = await stage.inspect();
      checkSame("the owner", { is: lock?.owner, should: ALICE });
      checkSame("the fence of the lock", { is: lock?.fence, should: fence });
      const again = await stage.raise({ owner: ALICE, fence, token: fence + 200n });
      checkSame("the reply to a second raise", { is: again, should: "raised" });
      await stage.outlive(stage.shortMs);
      checkSame("the lock after its TTL", { is: (await stage.inspect()).lock, should: undefined });
    },
  },
  {
    name: "a raise where no lock is, or no more, is refused and stores nothing",
    async run(context) {
      const stage = await stageOn(context);
      const reply = await stage.raise({ owner: ALICE, fence: 5n, token: 9n });
      checkSame("the reply where nothing ever was", { is: reply, should: "refused" });
      checkSame("the record", { is: await stage.inspect(), should: { lock: undefined, counter: 0n } });
      const fence = await stage.grant(ALICE);
      await stage.release(ALICE);
      const late = await stage.raise({ owner: ALICE, fence, token: fence + 100n });
      checkSame("the reply after a release", { is: late, should: "refused" });
      const { lock, counter } = await stage.inspect();
      check(lock === undefined, "a refused raise must not make a lock");
      checkSame("the counter", { is: counter, should: fence });
    },
  },
];
