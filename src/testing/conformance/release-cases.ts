/** Conformance: release and forced release end a lock and keep its counter. */
import { checkSame } from "./check.js";
import type { ConformanceCase } from "./case.js";
import { ALICE, BOB, stageOn } from "./stage.js";

/** Release, forced release and inspect. */
export const releaseCases: readonly ConformanceCase[] = [
  {
    name: "a release by the owner frees the lock at once",
    async run(context) {
      const stage = await stageOn(context);
      await stage.grant(ALICE);
      checkSame("the reply", { is: await stage.release(ALICE), should: "released" });
      checkSame("the lock", { is: (await stage.inspect()).lock, should: undefined });
      checkSame("the reply to a second release", { is: await stage.release(ALICE), should: "not-owner" });
      await stage.grant(BOB);
    },
  },
  {
    name: "a release by anybody else is told not-owner and changes nothing",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      checkSame("the reply", { is: await stage.release(BOB), should: "not-owner" });
      const { lock } = await stage.inspect();
      checkSame("the owner", { is: lock?.owner, should: ALICE });
      checkSame("the fence of the lock", { is: lock?.fence, should: fence });
    },
  },
  {
    name: "a release where nothing ever was is told not-owner and stores nothing",
    async run(context) {
      const stage = await stageOn(context);
      checkSame("the reply", { is: await stage.release(ALICE), should: "not-owner" });
      checkSame("the record", { is: await stage.inspect(), should: { lock: undefined, counter: 0n } });
    },
  },
  {
    name: "a release keeps the counter, also one that was raised",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      await stage.raise({ owner: ALICE, fence, token: fence + 100n });
      await stage.release(ALICE);
      checkSame("the counter", { is: (await stage.inspect()).counter, should: fence + 100n });
    },
  },
  {
    name: "a forced release frees the lock of anybody, keeps the counter, and says whether there was one",
    async run(context) {
      const stage = await stageOn(context);
      checkSame("the reply without a lock", {
        is: await stage.session.forceRelease(stage.key),
        should: false,
      });
      const fence = await stage.grant(ALICE);
      await stage.raise({ owner: ALICE, fence, token: fence + 100n });
      checkSame("the reply with a lock", { is: await stage.session.forceRelease(stage.key), should: true });
      const after = await stage.inspect();
      checkSame("the record", { is: after, should: { lock: undefined, counter: fence + 100n } });
      checkSame("the reply to a second one", {
        is: await stage.session.forceRelease(stage.key),
        should: false,
      });
      checkSame("the reply to the owner's extend", {
        is: await stage.extend(ALICE, { token: fence }),
        should: "not-owner",
      });
      checkSame("the next fence", { is: await stage.grant(BOB), should: fence + 101n });
    },
  },
  {
    name: "inspect tells the owner, the fence and what remains, and changes nothing",
    async run(context) {
      const stage = await stageOn(context);
      checkSame("the record of a fresh key", {
        is: await stage.inspect(),
        should: { lock: undefined, counter: 0n },
      });
      const fence = await stage.grant(ALICE, { ttlMs: stage.shortMs });
      const { lock, counter } = await stage.inspect();
      checkSame("the owner", { is: lock?.owner, should: ALICE });
      checkSame("the fence of the lock", { is: lock?.fence, should: fence });
      checkSame("the counter", { is: counter, should: fence });
      await stage.outlive(stage.shortMs);
      checkSame("the record after the TTL", {
        is: await stage.inspect(),
        should: { lock: undefined, counter: fence },
      });
    },
  },
];
