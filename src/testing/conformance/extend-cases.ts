/** Conformance: extend lengthens, repairs and, where it may, puts back. */
import { check, checkBetween, checkSame } from "./check.js";
import type { ConformanceCase } from "./case.js";
import { ALICE, BOB, stageOn } from "./stage.js";

/** Extend. */
export const extendCases: readonly ConformanceCase[] = [
  {
    name: "an extend by the owner lengthens the lock to a whole TTL from now",
    async run(context) {
      const stage = await stageOn(context);
      const token = await stage.grant(ALICE, { ttlMs: stage.shortMs });
      await context.waitMs(stage.shortMs / 3);
      const from = context.nowMs();
      checkSame("the reply", { is: await stage.extend(ALICE, { token }), should: "extended" });
      const to = context.nowMs();
      const { lock } = await stage.inspect();
      checkSame("the owner", { is: lock?.owner, should: ALICE });
      checkBetween("what remains of it", {
        is: lock?.remainingMs ?? 0,
        // It may tell less where its clock is coarse, by no more than a lock may end late for the same reason.
        min:
          stage.longMs -
          (context.nowMs() - from) -
          context.capabilities.earlyByMs -
          context.capabilities.lateByMs -
          1,
        max: stage.longMs + (to - from) + context.capabilities.lateByMs + 1,
      });
      await stage.outlive(stage.shortMs);
      checkSame("the reply to another after the first TTL", {
        is: (await stage.acquire(BOB)).kind,
        should: "held",
      });
    },
  },
  {
    name: "an extend never shortens the lock",
    async run(context) {
      const stage = await stageOn(context);
      const token = await stage.grant(ALICE);
      checkSame("the reply", {
        is: await stage.extend(ALICE, { token, ttlMs: stage.shortMs }),
        should: "extended",
      });
      await stage.outlive(stage.shortMs);
      checkSame("the owner after the shorter TTL", {
        is: (await stage.inspect()).lock?.owner,
        should: ALICE,
      });
      checkSame("the reply to another", { is: (await stage.acquire(BOB)).kind, should: "held" });
    },
  },
  {
    name: "an extend makes the backend remember the token, and keeps the fence of the lock",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      await stage.extend(ALICE, { token: fence + 100n });
      const { lock, counter } = await stage.inspect();
      checkSame("the counter", { is: counter, should: fence + 100n });
      checkSame("the fence of the lock", { is: lock?.fence, should: fence });
      await stage.extend(ALICE, { token: fence });
      checkSame("the counter after a lower token", {
        is: (await stage.inspect()).counter,
        should: fence + 100n,
      });
    },
  },
  {
    name: "an extend of another's lock is told not-owner and changes nothing, whether it may heal or not",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE, { ttlMs: stage.shortMs });
      for (const mayHeal of [false, true]) {
        const reply = await stage.extend(BOB, { token: fence + 100n, mayHeal });
        checkSame("the reply", { is: reply, should: "not-owner" });
      }
      const { lock, counter } = await stage.inspect();
      checkSame("the owner", { is: lock?.owner, should: ALICE });
      checkSame("the counter", { is: counter, should: fence });
      await stage.outlive(stage.shortMs);
      checkSame("the lock after its TTL", { is: (await stage.inspect()).lock, should: undefined });
    },
  },
  {
    name: "an extend of a missing lock without the right to heal is told not-owner and stores nothing",
    async run(context) {
      const stage = await stageOn(context);
      checkSame("the reply", { is: await stage.extend(ALICE, { token: 9n }), should: "not-owner" });
      checkSame("the record", { is: await stage.inspect(), should: { lock: undefined, counter: 0n } });
      const fence = await stage.grant(ALICE);
      await stage.release(ALICE);
      const late = await stage.extend(ALICE, { token: fence + 100n });
      checkSame("the reply after a release", { is: late, should: "not-owner" });
      const { lock, counter } = await stage.inspect();
      check(lock === undefined, "an extend without the right to heal must not make a lock");
      checkSame("the counter", { is: counter, should: fence });
    },
  },
  {
    name: "an extend of a missing lock with the right to heal creates it anew, with the token as its fence",
    async run(context) {
      const stage = await stageOn(context);
      const token = context.proposal();
      checkSame("the reply", {
        is: await stage.extend(ALICE, { token, ttlMs: stage.shortMs, mayHeal: true }),
        should: "recreated",
      });
      const { lock, counter } = await stage.inspect();
      checkSame("the owner", { is: lock?.owner, should: ALICE });
      checkSame("the fence", { is: lock?.fence, should: token });
      checkSame("the counter", { is: counter, should: token });
      checkSame("the reply to another", { is: (await stage.acquire(BOB)).kind, should: "held" });
      const raised = await stage.raise({ owner: ALICE, fence: token, token: token + 5n });
      checkSame("the reply to a raise with that fence", { is: raised, should: "raised" });
      await stage.outlive(stage.shortMs);
      checkSame("the fence after its TTL", {
        is: await stage.grant(BOB, { proposal: token }),
        should: token + 6n,
      });
    },
  },
  {
    name: "healing never lowers the counter",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(BOB);
      await stage.raise({ owner: BOB, fence, token: fence + 100n });
      await stage.release(BOB);
      const reply = await stage.extend(ALICE, { token: fence + 1n, mayHeal: true });
      checkSame("the reply", { is: reply, should: "recreated" });
      checkSame("the counter", { is: (await stage.inspect()).counter, should: fence + 100n });
    },
  },
  {
    name: "of many who may heal at once only one does",
    async run(context) {
      const stage = await stageOn(context);
      const token = context.proposal();
      const replies = await Promise.all(
        [ALICE, BOB, ALICE, BOB].map((owner) => stage.extend(owner, { token, mayHeal: true })),
      );
      const { lock } = await stage.inspect();
      const confirmed = replies.map((reply, i) => (reply === "not-owner" ? undefined : [ALICE, BOB][i % 2]));
      const owners = new Set(confirmed.filter((owner) => owner !== undefined));
      checkSame("the owners that were confirmed", { is: [...owners], should: [lock?.owner] });
      const recreated = replies.filter((reply) => reply === "recreated").length;
      checkSame("the number of locks made", { is: recreated, should: 1 });
    },
  },
];
