/**
 * Conformance: when a lock ends, and that an expired one is free for every operation. Instants are compared so that a
 * slow or busy machine can only make a case miss something, never fail without cause.
 */
import { check, checkSame } from "./check.js";
import type { ConformanceCase, ConformanceContext } from "./case.js";
import { ALICE, BOB, stageOn, type Stage } from "./stage.js";

/** A wait ends a little before the end of what it watches, and from there on it looks every millisecond. */
const WATCH_FROM_MS = 15;
/** Sums of fractions of milliseconds are not exact. */
const ROUNDING_MS = 0.001;

/** Expiry. */
export const expiryCases: readonly ConformanceCase[] = [
  {
    name: "a lock ends when its TTL is over: neither earlier nor later than the backend declares",
    async run(context) {
      const stage = await stageOn(context);
      const ttlMs = stage.shortMs;
      await endsAfter(context, {
        ttlMs,
        begin: () => stage.grant(ALICE, { ttlMs }),
        gone: () => isGone(stage),
      });
    },
  },
  {
    name: "an extended lock ends when the TTL of the extension is over",
    async run(context) {
      const stage = await stageOn(context);
      const ttlMs = stage.shortMs;
      const token = await stage.grant(ALICE, { ttlMs });
      await context.waitMs(ttlMs / 3);
      const begin = async (): Promise<void> => {
        checkSame("the reply", { is: await stage.extend(ALICE, { token, ttlMs }), should: "extended" });
      };
      await endsAfter(context, { ttlMs, begin, gone: () => isGone(stage) });
    },
  },
  {
    name: "a healed lock ends when its TTL is over",
    async run(context) {
      const stage = await stageOn(context);
      const ttlMs = stage.shortMs;
      const begin = async (): Promise<void> => {
        await stage.extend(ALICE, { token: context.proposal(), ttlMs, mayHeal: true });
      };
      await endsAfter(context, { ttlMs, begin, gone: () => isGone(stage) });
    },
  },
  {
    name: "another owner is granted the lock when its TTL is over, and not before",
    async run(context) {
      const stage = await stageOn(context);
      const ttlMs = stage.shortMs;
      const gone = async (): Promise<boolean> => (await stage.acquire(BOB)).kind === "granted";
      await endsAfter(context, { ttlMs, begin: () => stage.grant(ALICE, { ttlMs }), gone });
    },
  },
  {
    name: "an expired lock is free for acquire, also for its old owner: a new fence",
    async run(context) {
      const stage = await expired(context);
      const old = (await stage.inspect()).counter;
      const fence = await stage.grant(ALICE);
      check(fence > old, `the owner of an expired lock must get a new fence; it got ${fence} after ${old}`);
    },
  },
  {
    name: "an expired lock is not there for raise",
    async run(context) {
      const stage = await expired(context);
      const fence = (await stage.inspect()).counter;
      const reply = await stage.raise({ owner: ALICE, fence, token: fence + 100n });
      checkSame("the reply", { is: reply, should: "refused" });
      checkSame("the counter", { is: (await stage.inspect()).counter, should: fence });
    },
  },
  {
    name: "an expired lock is not there for extend",
    async run(context) {
      const stage = await expired(context);
      const token = (await stage.inspect()).counter;
      checkSame("the reply", { is: await stage.extend(ALICE, { token: token + 100n }), should: "not-owner" });
      checkSame("the record", { is: await stage.inspect(), should: { lock: undefined, counter: token } });
    },
  },
  {
    name: "an expired lock is free for an extend that may heal, of any owner",
    async run(context) {
      for (const owner of [ALICE, BOB]) {
        const stage = await expired(context);
        const token = (await stage.inspect()).counter + 1n;
        checkSame("the reply", {
          is: await stage.extend(owner, { token, mayHeal: true }),
          should: "recreated",
        });
        const { lock } = await stage.inspect();
        checkSame("the owner", { is: lock?.owner, should: owner });
        checkSame("the fence of the lock", { is: lock?.fence, should: token });
      }
    },
  },
  {
    name: "an expired lock is not there for release and forced release",
    async run(context) {
      const stage = await expired(context);
      checkSame("the reply to a release", { is: await stage.release(ALICE), should: "not-owner" });
      checkSame("the reply to a forced one", {
        is: await stage.session.forceRelease(stage.key),
        should: false,
      });
    },
  },
];

/** A stage with a lock of Alice that has just expired. */
async function expired(context: ConformanceContext): Promise<Stage> {
  const stage = await stageOn(context);
  await stage.grant(ALICE, { ttlMs: stage.shortMs });
  await stage.outlive(stage.shortMs);
  return stage;
}

async function isGone(stage: Stage): Promise<boolean> {
  return (await stage.inspect()).lock === undefined;
}

/** Something that begins, and whether it is over. */
interface Lasting {
  readonly ttlMs: number;
  readonly begin: () => Promise<unknown>;
  readonly gone: () => Promise<boolean>;
}

/** Fails when it is certain that it ended too early, or that it did not end in time. */
export async function endsAfter(context: ConformanceContext, lasting: Lasting): Promise<void> {
  const { earlyByMs, lateByMs } = context.capabilities;
  const sentAt = context.nowMs();
  await lasting.begin();
  const begunAt = context.nowMs();
  check(!(await lasting.gone()), "what has just begun must be there");
  await context.waitMs(Math.max(0, lasting.ttlMs - earlyByMs - WATCH_FROM_MS));
  for (;;) {
    const askedAt = context.nowMs();
    const gone = await lasting.gone();
    const atMost = context.nowMs() - sentAt;
    if (gone) {
      const earliest = lasting.ttlMs - earlyByMs - ROUNDING_MS;
      check(atMost >= earliest, `of ${lasting.ttlMs} ms it lasted ${atMost} ms at most: it ended too early`);
      return;
    }
    const atLeast = askedAt - begunAt;
    const latest = lasting.ttlMs + lateByMs + context.toleranceMs + ROUNDING_MS;
    check(atLeast <= latest, `of ${lasting.ttlMs} ms it lasted ${atLeast} ms at least: it ends too late`);
    await context.waitMs(1);
  }
}
