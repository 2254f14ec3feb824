/** Conformance: what a restart with its memory kept means, what the guard switches off, and who answers. */
import { check, checkSame } from "./check.js";
import type { ConformanceCase, ConformanceContext } from "./case.js";
import { ALICE, answer, BOB, quarantineOf, stageOn, stageWith } from "./stage.js";

/** Restarts and identity. */
export const restartCases: readonly ConformanceCase[] = [
  {
    name: "with the restart guard off a new memory is in service at once",
    needs: ["restart-lost"],
    async run(context) {
      await context.restart?.lost?.();
      const session = await context.open({ restartGuard: "off" });
      const stage = stageWith(context, session);
      const reply = await answer(context, () => stage.acquire(ALICE));
      checkSame("the reply to an acquire", { is: reply.kind, should: "granted" });
    },
  },
  {
    name: "the identity is the same in every reply, and the same object in one session",
    async run(context) {
      const stage = await stageOn(context);
      const { identity } = await stage.session.status();
      const other = await context.open();
      const [granted, again, held] = [
        await stage.acquire(ALICE),
        await stage.acquire(ALICE),
        await stage.acquire(BOB),
      ];
      const extended = await stage.session.extend({
        key: stage.key,
        owner: ALICE,
        ttlMs: stage.longMs,
        token: 1n,
        mayHeal: false,
      });
      for (const reply of [granted, again, held, extended]) {
        check(
          reply.identity === identity,
          `the identity of a reply (${reply.kind}) must be the object of the last one`,
        );
      }
      checkSame("the identity in another session", { is: (await other.status()).identity, should: identity });
    },
  },
  {
    name: "a memory that was kept over a restart counts as new: quarantined, and joined by the mark found in it",
    needs: ["restart-kept", "volatile"],
    async run(context) {
      const stage = await stageOn(context);
      const before = await stage.session.status();
      await context.restart?.kept?.();
      const session = await context.open();
      const status = await answer(context, () => session.status());
      check(
        status.kind === "quarantined",
        `the status after a restart is ${status.kind}, and should be quarantined`,
      );
      checkSame("whether it is joined", { is: status.joined, should: true });
      check(
        status.identity.incarnation !== before.identity.incarnation,
        "a restart of a volatile backend must be another incarnation",
      );
    },
  },
  {
    name: "in quarantine a lock that survived is extended and released, but not granted to anybody, nor raised anew",
    needs: ["restart-kept", "volatile"],
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      await context.restart?.kept?.();
      const again = { ...stageWith(context, await context.open()), key: stage.key };
      const { session, key } = again;
      const reply = await answer(context, () => session.acquire({ ...request(context, key), owner: BOB }));
      checkSame("the reply to another's acquire", { is: reply.kind, should: "quarantined" });
      const duplicate = await session.acquire({ ...request(context, key), owner: ALICE });
      checkSame("the reply to a duplicate", { is: duplicate.kind, should: "quarantined" });
      const extend = { key, ttlMs: stage.longMs, token: fence + 100n };
      const extended = await session.extend({ ...extend, owner: ALICE, mayHeal: false });
      checkSame("the reply to the owner's extend", { is: extended.kind, should: "extended" });
      const stolen = await session.extend({ ...extend, owner: BOB, mayHeal: true });
      checkSame("whether another's extend succeeds", {
        is: stolen.kind === "recreated" || stolen.kind === "extended",
        should: false,
      });
      checkSame("the counter", { is: (await session.inspect(key)).counter, should: fence + 100n });
      checkSame("the reply to a release", { is: await session.release(key, ALICE), should: "released" });
      const { identity } = await quarantineOf(session);
      await session.bootstrap(identity.incarnation);
      const next = await session.acquire({ ...request(context, key), owner: BOB, proposal: fence });
      checkSame("the reply after a bootstrap", { is: next.kind, should: "granted" });
      checkSame("the next fence", { is: next.kind === "granted" && next.fence, should: fence + 101n });
    },
  },
  {
    name: "in quarantine a lock that survived and then expired is gone for good",
    needs: ["restart-kept", "volatile"],
    async run(context) {
      const stage = await stageOn(context);
      const token = await stage.grant(ALICE, { ttlMs: stage.shortMs });
      await context.restart?.kept?.();
      const session = await context.open();
      await answer(context, () => session.status());
      await stage.outlive(stage.shortMs);
      for (const mayHeal of [false, true]) {
        const extend = { key: stage.key, owner: ALICE, ttlMs: stage.longMs, token, mayHeal };
        const { kind } = await session.extend(extend);
        check(
          kind !== "extended" && kind !== "recreated",
          `an extend in quarantine of an expired lock was ${kind}`,
        );
      }
      checkSame("the lock", { is: (await session.inspect(stage.key)).lock, should: undefined });
    },
  },
  {
    name: "a durable backend that restarts keeps its incarnation, its locks and its counters, and votes at once",
    needs: ["restart-kept", "durable"],
    async run(context) {
      const stage = await stageOn(context);
      const before = await stage.session.status();
      const fence = await stage.grant(ALICE);
      await context.restart?.kept?.();
      const session = await context.open();
      const after = await answer(context, () => session.status());
      checkSame("the status", { is: after.kind, should: before.kind });
      // The server id may be that of the process; what counts is that the memory is the same.
      checkSame("the incarnation", { is: after.identity.incarnation, should: before.identity.incarnation });
      const { lock, counter } = await session.inspect(stage.key);
      checkSame("the owner", { is: lock?.owner, should: ALICE });
      checkSame("the counter", { is: counter, should: fence });
      const reply = await session.acquire({ ...request(context, stage.key), owner: BOB });
      checkSame("the reply to another", { is: reply.kind, should: "held" });
    },
  },
];

function request(context: ConformanceContext, key: string): { key: string; ttlMs: number; proposal: bigint } {
  return { key, ttlMs: Math.min(10_000, context.deployment.maxTtlMs), proposal: context.proposal() };
}
