/** Conformance: a backend with a new memory says so, does not vote for a while, and who may change that. */
import { check, checkBetween, checkSame } from "./check.js";
import type { ConformanceCase } from "./case.js";
import { endsAfter } from "./expiry-cases.js";
import { ALICE, answer, BOB, newMemory, quarantineOf, stageOn, stageWith } from "./stage.js";

/** Quarantine, bootstrap and join. */
export const quarantineCases: readonly ConformanceCase[] = [
  {
    name: "a new memory is quarantined, joined by nobody, and grants nothing",
    needs: ["restart-lost"],
    async run(context) {
      const session = await newMemory(context);
      const status = await quarantineOf(session);
      checkSame("whether it is joined", { is: status.joined, should: false });
      checkBetween("what remains of the quarantine", {
        is: status.remainingMs,
        min: Number.MIN_VALUE,
        max: context.deployment.quarantineMs + context.capabilities.lateByMs,
      });
      const stage = stageWith(context, session);
      const reply = await stage.acquire(ALICE);
      checkSame("the reply to an acquire", { is: reply.kind, should: "quarantined" });
      checkSame("who replied", { is: reply.identity, should: status.identity });
      const healed = await stage.extend(ALICE, { token: context.proposal(), mayHeal: true });
      checkSame("the reply to an extend that may heal", { is: healed, should: "quarantined" });
      checkSame("the record", { is: await stage.inspect(), should: { lock: undefined, counter: 0n } });
    },
  },
  {
    name: "the first request of all, an acquire, is not granted by a new memory",
    needs: ["restart-lost"],
    async run(context) {
      await context.restart?.lost?.();
      const stage = stageWith(context, await context.open());
      const reply = await answer(context, () => stage.acquire(ALICE));
      checkSame("the reply", { is: reply.kind, should: "quarantined" });
    },
  },
  {
    name: "a session that was open before notices the new memory: nothing is there, and nothing is granted",
    needs: ["restart-lost"],
    async run(context) {
      const stage = await stageOn(context);
      const token = await stage.grant(ALICE);
      await context.restart?.lost?.();
      const reply = await answer(context, () => stage.acquire(BOB));
      checkSame("the reply to an acquire", { is: reply.kind, should: "quarantined" });
      const extended = await stage.extend(ALICE, { token, mayHeal: true });
      checkSame("the reply to the owner's extend", { is: extended, should: "quarantined" });
      checkSame("the record", { is: await stage.inspect(), should: { lock: undefined, counter: 0n } });
    },
  },
  {
    name: "a quarantine ends by itself, and not too early",
    needs: ["restart-lost"],
    async run(context) {
      const quarantineMs = 2 * (await stageOn(context)).shortMs;
      await context.restart?.lost?.();
      const session = await context.open({ quarantineMs });
      const status = (): ReturnType<typeof session.status> => answer(context, () => session.status());
      const gone = async (): Promise<boolean> => (await status()).kind === "in-service";
      await endsAfter(context, { ttlMs: quarantineMs, begin: status, gone });
      await stageWith(context, session).grant(ALICE);
    },
  },
  {
    name: "a bootstrap of its incarnation puts a quarantined backend into service",
    needs: ["restart-lost"],
    async run(context) {
      const session = await newMemory(context);
      const { identity } = await quarantineOf(session);
      await session.bootstrap(identity.incarnation);
      const status = await session.status();
      checkSame("the status", { is: status.kind, should: "in-service" });
      checkSame("who replied", { is: status.identity, should: identity });
      await stageWith(context, session).grant(ALICE);
      const other = stageWith(context, await context.open());
      await other.grant(BOB);
    },
  },
  {
    name: "a bootstrap of a joined backend puts it into service all the same",
    needs: ["restart-lost"],
    async run(context) {
      const session = await newMemory(context);
      const { identity } = await quarantineOf(session);
      await session.join(identity.incarnation);
      await session.bootstrap(identity.incarnation);
      checkSame("the status", { is: (await session.status()).kind, should: "in-service" });
    },
  },
  {
    name: "a bootstrap or join of another incarnation changes nothing",
    needs: ["restart-lost"],
    async run(context) {
      const before = await newMemory(context);
      const { identity: old } = await quarantineOf(before);
      const session = await newMemory(context);
      const { identity } = await quarantineOf(session);
      check(old.incarnation !== identity.incarnation, "a new memory must be another incarnation");
      for (const incarnation of [old.incarnation, `${identity.incarnation}0`, ""]) {
        await session.bootstrap(incarnation);
        await session.join(incarnation);
        const status = await quarantineOf(session);
        checkSame("whether it is joined", { is: status.joined, should: false });
        checkSame("who replied", { is: status.identity, should: identity });
      }
    },
  },
  {
    name: "a late bootstrap of an older incarnation is no bootstrap, in whatever session",
    needs: ["restart-lost"],
    async run(context) {
      const before = await newMemory(context);
      const { identity: old } = await quarantineOf(before);
      await context.restart?.lost?.();
      await answer(context, () => before.bootstrap(old.incarnation));
      const status = await answer(context, () => before.status());
      checkSame("the status", { is: status.kind, should: "quarantined" });
    },
  },
  {
    name: "a join is remembered, seen by every session, and moves the end of the quarantine not at all",
    needs: ["restart-lost"],
    async run(context) {
      const session = await newMemory(context);
      const before = await quarantineOf(session);
      const from = context.nowMs();
      await context.waitMs(10);
      await session.join(before.identity.incarnation);
      const other = await context.open();
      const after = await quarantineOf(other);
      const passed = context.nowMs() - from;
      checkSame("whether it is joined", { is: after.joined, should: true });
      checkSame("who replied", { is: after.identity, should: before.identity });
      const grainMs = context.toleranceMs + context.capabilities.lateByMs + 2;
      checkBetween("what remains of the quarantine", {
        is: after.remainingMs,
        min: before.remainingMs - passed - grainMs,
        max: before.remainingMs - 10 + grainMs,
      });
      const reply = await stageWith(context, other).acquire(ALICE);
      checkSame("the reply to an acquire", { is: reply.kind, should: "quarantined" });
      check(
        reply.kind === "quarantined" && reply.joined,
        "an acquire must tell that the backend is joined, too",
      );
    },
  },
  {
    name: "in service, bootstrap and join of its incarnation change nothing",
    async run(context) {
      const stage = await stageOn(context);
      const { identity } = await stage.session.status();
      await stage.grant(ALICE);
      for (const change of ["join", "bootstrap"] as const) {
        await stage.session[change](identity.incarnation);
        const status = await stage.session.status();
        checkSame(`the status after ${change}`, { is: status, should: { kind: "in-service", identity } });
      }
      checkSame("the owner", { is: (await stage.inspect()).lock?.owner, should: ALICE });
    },
  },
];
