/** Conformance: what an operator does to a backend: listing, lifting a counter, a quarantine by hand, a look at the server. */
import type { BackendSession } from "../../backend.js";
import { check, checkBetween, checkRejects, checkSame, ConformanceFailure } from "./check.js";
import type { ConformanceCase, ConformanceContext } from "./case.js";
import { ALICE, BOB, quarantineOf, stageOn } from "./stage.js";

/** So many pages hold all that a case stored, on a store that others use too. */
const PAGES_MAX = 10_000;

/** Inspect, list, lift, quarantine and examine. */
export const operatorCases: readonly ConformanceCase[] = [
  {
    name: "inspect tells what is left of a lock: no more, since the validity of an adopted lease rests on it",
    async run(context) {
      const stage = await stageOn(context);
      const from = context.nowMs();
      await stage.grant(ALICE);
      const granted = context.nowMs();
      await context.waitMs(20);
      const asked = context.nowMs();
      const { lock } = await stage.inspect();
      const answered = context.nowMs();
      checkBetween("the time that is left of the lock", {
        is: lock?.remainingMs ?? Number.NaN,
        // Less than that, where the clock is too coarse to tell: by no more than a lock may end late for the same reason.
        min:
          stage.longMs -
          (answered - from) -
          context.capabilities.earlyByMs -
          context.capabilities.lateByMs -
          1,
        max: stage.longMs - (asked - granted) + context.capabilities.lateByMs + 1,
      });
    },
  },
  {
    name: "list finds the keys that have a live lock, and only those that begin with the prefix",
    needs: ["lists", "alone"],
    async run(context) {
      const stage = await stageOn(context);
      const { session } = stage;
      const family = context.freshKey();
      const keys = ["a", "b*", "[c]", "d?\\", "é"].map((each) => `${family}*${each}`);
      const other = `${family}x`;
      for (const key of [...keys, other]) await acquire(context, session, { key, owner: ALICE });
      await session.release(keys[0] ?? "", ALICE);
      checkSame("the keys", { is: await listed(session, `${family}*`, 2), should: keys.slice(1).sort() });
      checkSame("the keys of the shorter prefix", {
        is: await listed(session, family),
        should: [...keys.slice(1), other].sort(),
      });
    },
  },
  {
    name: "list does not show a lock that has ended",
    needs: ["lists", "alone"],
    async run(context) {
      const stage = await stageOn(context);
      await stage.grant(ALICE, { ttlMs: stage.shortMs });
      checkSame("the keys", { is: await listed(stage.session, stage.key), should: [stage.key] });
      await stage.outlive(stage.shortMs);
      checkSame("the keys after the TTL", { is: await listed(stage.session, stage.key), should: [] });
    },
  },
  {
    name: "lift raises the counter, never lowers it, and leaves the lock alone",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      checkSame("the reply", { is: await stage.session.lift(stage.key, fence + 50n), should: fence + 50n });
      checkSame("the reply to a lower one", {
        is: await stage.session.lift(stage.key, 1n),
        should: fence + 50n,
      });
      const { lock, counter } = await stage.inspect();
      checkSame("the counter", { is: counter, should: fence + 50n });
      checkSame("the owner", { is: lock?.owner, should: ALICE });
      checkSame("the fence of the lock", { is: lock?.fence, should: fence });
      await stage.release(ALICE);
      checkSame("the next fence", { is: await stage.grant(BOB), should: fence + 51n });
    },
  },
  {
    name: "lift makes a counter where there was none",
    async run(context) {
      const stage = await stageOn(context);
      const token = context.proposal() + 1_000_000_000n;
      checkSame("the reply", { is: await stage.session.lift(stage.key, token), should: token });
      checkSame("the next fence", { is: await stage.grant(ALICE), should: token + 1n });
    },
  },
  {
    name: "a quarantine by hand keeps locks and counters, grants nothing, and cannot be bootstrapped by who knew it before",
    needs: ["alone"],
    async run(context) {
      const stage = await stageOn(context);
      const { session } = stage;
      const before = await session.status();
      const fence = await stage.grant(ALICE);
      const begun = await session.quarantine();
      checkSame("the reply", { is: begun.kind, should: "quarantined" });
      checkSame("joined", { is: begun.joined, should: true });
      check(
        begun.identity.incarnation !== before.identity.incarnation,
        "the incarnation is the same as before, so that a late bootstrap would end the quarantine",
      );
      await session.bootstrap(before.identity.incarnation);
      const status = await quarantineOf(session);
      checkSame("the incarnation", { is: status.identity.incarnation, should: begun.identity.incarnation });
      checkSame("the owner", { is: (await stage.inspect()).lock?.owner, should: ALICE });
      checkSame("the reply to the owner's extend", {
        is: await stage.extend(ALICE, { token: fence }),
        should: "extended",
      });
      await stage.release(ALICE);
      const refused = await acquire(context, session, { key: stage.key, owner: BOB });
      checkSame("the reply to an acquire", { is: refused.kind, should: "quarantined" });
      await session.bootstrap(begun.identity.incarnation);
      checkSame("the next fence", { is: (await stage.grant(BOB)) > fence, should: true });
    },
  },
  {
    name: "a quarantine by hand counts in every session, also in one that knew the backend in service",
    async run(context) {
      const stage = await stageOn(context);
      const other = await context.open();
      const otherKey = context.freshKey();
      await acquire(context, other, { key: otherKey, owner: BOB });
      await other.release(otherKey, BOB);
      await stage.session.quarantine();
      const { kind } = await acquire(context, other, { key: stage.key, owner: ALICE });
      checkSame("the reply to an acquire in the other session", { is: kind, should: "quarantined" });
      const { longMs: ttlMs } = stage;
      const heal = { key: otherKey, owner: BOB, ttlMs, token: context.proposal(), mayHeal: true };
      checkSame("the reply to an extend that may heal", {
        is: (await other.extend(heal)).kind,
        should: "quarantined",
      });
      checkSame("the lock", { is: (await stage.inspect()).lock, should: undefined });
    },
  },
  {
    name: 'a quarantine by hand is refused under restartGuard "off"',
    async run(context) {
      const session = await context.open({ restartGuard: "off" });
      await checkRejects("a quarantine", "BACKEND_UNSUPPORTED", session.quarantine());
    },
  },
  {
    name: "examine names the server and changes nothing",
    async run(context) {
      const stage = await stageOn(context);
      const fence = await stage.grant(ALICE);
      const { server, wallMs, findings } = await stage.session.examine();
      check(server !== "", "the server has no name");
      check(wallMs === undefined || Number.isFinite(wallMs), `its clock is ${String(wallMs)}`);
      check(Array.isArray(findings), "there is no list of findings");
      checkSame("the fence of the lock", { is: (await stage.inspect()).lock?.fence, should: fence });
    },
  },
];

async function acquire(
  context: ConformanceContext,
  session: BackendSession,
  of: { readonly key: string; readonly owner: string },
): ReturnType<BackendSession["acquire"]> {
  return session.acquire({ ...of, ttlMs: context.deployment.maxTtlMs, proposal: context.proposal() });
}

/** All pages, without what comes twice. */
async function listed(session: BackendSession, prefix: string, pageSize = 1_000): Promise<readonly string[]> {
  const found = new Set<string>();
  let cursor: string | undefined;
  for (let pages = 0; pages < PAGES_MAX; pages++) {
    const page = await session.list({ prefix, cursor, pageSize });
    for (const key of page.keys) found.add(key);
    cursor = page.next;
    if (cursor === undefined) return [...found].sort();
  }
  throw new ConformanceFailure(`the list did not end within ${PAGES_MAX} pages`);
}
