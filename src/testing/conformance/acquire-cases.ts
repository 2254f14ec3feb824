/** Conformance: who gets a lock, and what a second acquire of the same owner does. */
import type { AcquireReply } from "../../backend.js";
import { check, checkBetween, checkSame } from "./check.js";
import type { ConformanceCase } from "./case.js";
import { ALICE, BOB, ownerOf, stageOn, stageWith } from "./stage.js";

const CONTENDERS = 64;
const SESSIONS = 4;
const TURNS = 4;
const TRIES_MAX = 200;

/** Acquire: exclusion on one backend, and duplicates. */
export const acquireCases: readonly ConformanceCase[] = [
  {
    name: "exactly one of 64 concurrent contenders is granted",
    async run(context) {
      const first = await stageOn(context);
      const sessions = [first.session];
      while (sessions.length < SESSIONS) sessions.push(await context.open());
      const replies = await Promise.all(
        Array.from({ length: CONTENDERS }, (_, i) => {
          const session = sessions[i % SESSIONS] ?? first.session;
          const request = { key: first.key, owner: ownerOf(i), ttlMs: first.longMs };
          return session.acquire({ ...request, proposal: context.proposal() });
        }),
      );
      const winners = replies.flatMap((reply, i) => (reply.kind === "granted" ? [ownerOf(i)] : []));
      checkSame("the number of grants", { is: winners.length, should: 1 });
      const held = replies.filter((reply) => reply.kind === "held").length;
      checkSame("the number of contenders that were told it is held", { is: held, should: CONTENDERS - 1 });
      const { lock } = await first.inspect();
      checkSame("the owner that is stored", { is: lock?.owner, should: winners[0] });
    },
  },
  {
    name: "contenders that take turns never get a fence twice, and always a larger one",
    async run(context) {
      const stage = await stageOn(context);
      const proposal = context.proposal();
      const fences: bigint[] = [];
      const contend = async (owner: string): Promise<void> => {
        for (let [turns, tries] = [0, 0]; turns < TURNS && tries < TRIES_MAX; tries++) {
          const reply = await stage.acquire(owner, { proposal });
          if (reply.kind !== "granted") continue;
          turns++;
          fences.push(reply.fence);
          await stage.release(owner);
        }
      };
      await Promise.all(Array.from({ length: 8 }, (_, i) => contend(ownerOf(i))));
      check(fences.length > 0, "somebody must be granted a lock that is free");
      const sorted = [...fences].sort((a, b) => (a < b ? -1 : 1));
      checkSame("the number of different fences", { is: new Set(fences).size, should: fences.length });
      checkSame("the order of the fences", { is: fences, should: sorted });
    },
  },
  {
    name: "a live lock of another owner is held, and for how long is told right if at all",
    async run(context) {
      const stage = await stageOn(context);
      const from = context.nowMs();
      await stage.grant(ALICE);
      const granted = context.nowMs();
      await context.waitMs(20);
      const asked = context.nowMs();
      const reply = await stage.acquire(BOB);
      const answered = context.nowMs();
      checkSame("the reply to another owner", { is: reply.kind, should: "held" });
      if (reply.kind !== "held" || reply.remainingMs === undefined) return;
      checkBetween("the time that the lock is held for", {
        is: reply.remainingMs,
        min: stage.longMs - (answered - from) - context.capabilities.earlyByMs - 1,
        max: stage.longMs - (asked - granted) + context.capabilities.lateByMs + 1,
      });
    },
  },
  {
    name: "an acquire that is refused changes nothing",
    async run(context) {
      const stage = await stageOn(context);
      await stage.grant(ALICE);
      const before = await stage.inspect();
      await context.waitMs(10);
      await stage.acquire(BOB, { ttlMs: stage.shortMs });
      const after = await stage.inspect();
      checkSame("the counter", { is: after.counter, should: before.counter });
      checkSame("the owner", { is: after.lock?.owner, should: ALICE });
      checkSame("the fence of the lock", { is: after.lock?.fence, should: before.lock?.fence });
      const [was, is] = [before.lock?.remainingMs ?? 0, after.lock?.remainingMs ?? 0];
      check(is <= was, `a refused acquire must not lengthen the lock: ${was} ms were left, now ${is} ms`);
      check(
        is > was - stage.longMs / 2,
        `a refused acquire must not shorten the lock from ${was} ms to ${is} ms`,
      );
    },
  },
  {
    name: "locks of different keys have nothing to do with each other",
    async run(context) {
      const one = await stageOn(context);
      const other = stageWith(context, one.session);
      await one.grant(ALICE);
      await other.grant(BOB);
      await one.release(ALICE);
      checkSame("the owner of the other key", { is: (await other.inspect()).lock?.owner, should: BOB });
    },
  },
  {
    name: "closing a session leaves the locks, and the other sessions at work",
    async run(context) {
      const stage = await stageOn(context);
      await stage.grant(ALICE);
      await stage.session.close();
      const other = await context.open();
      const request = { key: stage.key, owner: BOB, ttlMs: stage.longMs, proposal: context.proposal() };
      checkSame("the reply in another session", { is: (await other.acquire(request)).kind, should: "held" });
      const third = stageWith(context, other);
      await third.grant(BOB);
    },
  },
  {
    name: "a duplicate acquire of the same owner gets the same fence, and the counter stays",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      const duplicate = await stage.grant(ALICE);
      checkSame("the fence of a duplicate", { is: duplicate, should: fence });
      const { lock, counter } = await stage.inspect();
      checkSame("the fence of the lock", { is: lock?.fence, should: fence });
      checkSame("the counter", { is: counter, should: fence });
    },
  },
  {
    name: "many duplicates at once all get the same fence",
    async run(context) {
      const stage = await stageOn(context);
      const replies = await Promise.all(Array.from({ length: 16 }, () => stage.acquire(ALICE)));
      const fences = new Set(
        replies.map((reply: AcquireReply) => (reply.kind === "granted" ? reply.fence : reply.kind)),
      );
      checkSame("the number of different answers", { is: fences.size, should: 1 });
      const { lock } = await stage.inspect();
      check(
        lock !== undefined && fences.has(lock.fence),
        "the fence that was granted must be the one that is stored",
      );
    },
  },
  {
    name: "a duplicate acquire does not lengthen the lock",
    async run(context) {
      const stage = await stageOn(context);
      await stage.grant(ALICE, { ttlMs: stage.shortMs });
      await context.waitMs(stage.shortMs / 3);
      await stage.acquire(ALICE, { ttlMs: stage.longMs });
      await stage.outlive(stage.shortMs);
      checkSame("the lock after its first TTL", { is: (await stage.inspect()).lock, should: undefined });
      await stage.grant(BOB);
    },
  },
  {
    name: "a duplicate acquire does not shorten the lock",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE, { ttlMs: stage.shortMs });
      await stage.extend(ALICE, { token: fence });
      await stage.acquire(ALICE, { ttlMs: stage.shortMs });
      await stage.outlive(stage.shortMs);
      checkSame("the owner after the duplicate's TTL", {
        is: (await stage.inspect()).lock?.owner,
        should: ALICE,
      });
    },
  },
  {
    name: "a duplicate acquire after a raise still gets the fence that was granted",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      await stage.raise({ owner: ALICE, fence, token: fence + 7n });
      checkSame("the fence of a duplicate", { is: await stage.grant(ALICE), should: fence });
      checkSame("the counter", { is: (await stage.inspect()).counter, should: fence + 7n });
    },
  },
];
