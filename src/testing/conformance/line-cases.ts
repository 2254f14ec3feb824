/** Conformance: waiters stand in line with tickets, and are called when a lock is freed. All of it is advice. */
import type { BackendSession, Ticket } from "../../backend.js";
import { check, checkSame } from "./check.js";
import type { ConformanceCase, ConformanceContext } from "./case.js";
import { ALICE, BOB, CAROL, stageOn, type Stage } from "./stage.js";

/** How long a call may take to arrive, and how long a backend may keep a key for one waiter, in milliseconds. */
const CALL_MS_MAX = 5_000;
const LOOK_EVERY_MS = 5;
/** What comes later after a lock was freed may find that its reservation is over, which shows nothing of the backend. */
const LATE_MS = 60;
const TRIES_MAX = 20;
const WAITS_MS = 60_000;
const DAVE = "da7e0000000000000000000000000004";

/** Tickets, calls and reservations. */
export const lineCases: readonly ConformanceCase[] = [
  {
    name: "a released lock is kept for the smallest ticket, whose waiter is called, and nobody else gets it",
    needs: ["wakes"],
    run: (context) =>
      onLine(context, async ({ stage, waits, heard, release }) => {
        await stage.grant(ALICE);
        checkSame("the later waiter", { is: await waits(BOB, { id: "12", since: 2_000n }), should: "held" });
        checkSame("the earlier waiter", {
          is: await waits(CAROL, { id: "11", since: 1_000n }),
          should: "held",
        });
        await release(ALICE);
        checkSame("the call", { is: await heard("11"), should: 0 });
        checkSame("one without a ticket", { is: (await stage.acquire(DAVE)).kind, should: "held" });
        checkSame("the later one", { is: await waits(BOB, { id: "12", since: 2_000n }), should: "held" });
        checkSame("the earlier one", {
          is: await waits(CAROL, { id: "11", since: 1_000n }),
          should: "granted",
        });
      }),
  },
  {
    name: "the second in line is told when it may try, should the first be gone",
    needs: ["wakes"],
    run: (context) =>
      onLine(context, async ({ stage, waits, heard, release }) => {
        await stage.grant(ALICE);
        await waits(BOB, { id: "1", since: 1n });
        await waits(CAROL, { id: "2", since: 2n });
        await release(ALICE);
        const inMs = await heard("2");
        check(inMs > 0 && inMs <= CALL_MS_MAX, `it is told to try in ${inMs} ms`);
        await context.waitMs(inMs + context.capabilities.lateByMs + context.toleranceMs + 1);
        checkSame("the second", { is: await waits(CAROL, { id: "2", since: 2n }), should: "granted" });
      }),
  },
  {
    name: "a reservation that nobody takes ends by itself",
    needs: ["wakes"],
    run: (context) =>
      onLine(context, async ({ stage, waits, release }) => {
        await stage.grant(ALICE);
        await waits(BOB, { id: "1", since: 1n });
        await release(ALICE);
        const reply = await stage.acquire(CAROL);
        checkSame("the reply", { is: reply.kind, should: "held" });
        const remainingMs = (reply.kind === "held" ? reply.remainingMs : undefined) ?? CALL_MS_MAX;
        check(remainingMs > 0 && remainingMs <= CALL_MS_MAX, `it lasts another ${remainingMs} ms`);
        await context.waitMs(remainingMs + context.capabilities.lateByMs + context.toleranceMs + 1);
        await stage.grant(CAROL);
      }),
  },
  {
    name: "a reservation is no lock: not to inspect, to a release, a forced one, or an extend that may heal",
    needs: ["wakes"],
    run: (context) =>
      onLine(context, async ({ stage, waits, release }) => {
        const fence = await stage.grant(ALICE);
        await waits(BOB, { id: "1", since: 1n });
        await release(ALICE);
        checkSame("the record", { is: await stage.inspect(), should: { lock: undefined, counter: fence } });
        checkSame("a release", { is: await stage.release(ALICE), should: "not-owner" });
        checkSame("a forced one", { is: await stage.session.forceRelease(stage.key), should: false });
        const healed = await stage.extend(ALICE, { token: fence, mayHeal: true });
        checkSame("an extend that may heal", { is: healed, should: "not-owner" });
        checkSame("its waiter", { is: await waits(BOB, { id: "1", since: 1n }), should: "granted" });
      }),
  },
  {
    name: "who has the lock stands in line no more, and who leaves the line is not called",
    needs: ["wakes"],
    run: (context) =>
      onLine(context, async ({ stage, waits, leave, release }) => {
        await stage.grant(ALICE);
        await waits(BOB, { id: "1", since: 1n });
        await waits(CAROL, { id: "2", since: 2n });
        await leave("2");
        await release(ALICE);
        checkSame("the first", { is: await waits(BOB, { id: "1", since: 1n }), should: "granted" });
        await release(BOB);
        await stage.grant(DAVE);
      }),
  },
  {
    name: "who leaves while a key is kept for it gives it to the next, and who died is called no second time",
    needs: ["wakes"],
    run: (context) =>
      onLine(context, async ({ stage, waits, leave, heard, release }) => {
        await stage.grant(ALICE);
        await waits(BOB, { id: "1", since: 1n });
        await waits(CAROL, { id: "2", since: 2n });
        await release(ALICE);
        await heard("1");
        await leave("1");
        checkSame("one without a ticket", { is: (await stage.acquire(DAVE)).kind, should: "held" });
        checkSame("the next", { is: await waits(CAROL, { id: "2", since: 2n }), should: "granted" });
      }),
  },
  {
    name: "a ticket that comes with a release is in line before the next one is called, where it freed a lock and nowhere else",
    needs: ["wakes"],
    run: (context) =>
      onLine(context, async ({ stage, waits, heard, giveBack }) => {
        await stage.grant(ALICE);
        checkSame("the later waiter", { is: await waits(BOB, { id: "2", since: 2n }), should: "held" });
        const nothing = await giveBack(DAVE, { id: "0", since: 0n });
        checkSame("the release of nothing", { is: nothing, should: "not-owner" });
        const reply = await giveBack(ALICE, { id: "1", since: 1n });
        checkSame("the release", { is: reply, should: "released" });
        checkSame("the call", { is: await heard("1"), should: 0 });
        const inMs = await heard("2");
        check(inMs > 0 && inMs <= CALL_MS_MAX, `the later one is told to try in ${inMs} ms`);
        checkSame("the later one", { is: await waits(BOB, { id: "2", since: 2n }), should: "held" });
        checkSame("the earlier one", { is: await waits(CAROL, { id: "1", since: 1n }), should: "granted" });
      }),
  },
  {
    name: "of tickets of the same time the smaller name goes first, whoever stands there",
    needs: ["wakes"],
    run: async (context) => {
      for (const names of [
        ["21", "22"],
        ["22", "21"],
      ] as const) {
        await onLine(context, async ({ stage, waits, heard, release, other }) => {
          await stage.grant(ALICE);
          await waits(BOB, { id: names[0], since: 1n });
          await other.waits(CAROL, { id: names[1], since: 1n });
          await release(ALICE);
          const first = names[0] === "21" ? heard : other.heard;
          checkSame("the call of the smaller name", { is: await first("21"), should: 0 });
        });
      }
    },
  },
  {
    name: "a forced release calls the first in line, too",
    needs: ["wakes"],
    run: (context) =>
      onLine(context, async ({ stage, waits, heard, forceRelease }) => {
        await stage.grant(ALICE);
        await waits(BOB, { id: "1", since: 1n });
        await forceRelease();
        checkSame("the call", { is: await heard("1"), should: 0 });
        checkSame("its waiter", { is: await waits(BOB, { id: "1", since: 1n }), should: "granted" });
      }),
  },
];

interface LineStage {
  readonly stage: Stage;
  readonly release: (owner: string) => Promise<unknown>;
  readonly forceRelease: () => Promise<unknown>;
  /** Releases as a lost attempt does whose wait goes on. */
  readonly giveBack: (owner: string, ticket: Pick<Ticket, "id" | "since">) => Promise<string>;
  /** Those who wait in another session for the same key. */
  readonly other: Pick<LineStage, "waits" | "heard">;
  /** Whether a reservation may be over that was made by either of them. */
  readonly isLate: () => boolean;
  /** Tries with a ticket, and tells the kind of the reply. */
  waits(owner: string, ticket: Pick<Ticket, "id" | "since">): Promise<string>;
  leave(ticket: string): Promise<void>;
  /** Waits until that ticket was called; resolves to when it may try. */
  heard(ticket: string): Promise<number>;
}

/** Runs a case, once more where it was too slow to show anything. */
async function onLine(context: ConformanceContext, run: (on: LineStage) => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    const on = await lineOn(context);
    try {
      await run(on);
      return;
    } catch (error) {
      if (tries >= TRIES_MAX || !on.isLate()) throw error;
    }
  }
}

/** A stage whose session hears the calls of its backend, as it has been seen to. */
async function lineOn(context: ConformanceContext): Promise<LineStage> {
  const stage = await stageOn(context);
  const { session, key } = stage;
  let freedAtMs: number | undefined;
  const freed = async <T>(free: Promise<T>): Promise<T> => {
    freedAtMs = context.nowMs();
    return free;
  };
  return {
    stage,
    ...(await waitersOf(context, session, key)),
    other: await waitersOf(context, await context.open(), key),
    release: (owner) => freed(stage.release(owner)),
    forceRelease: () => freed(session.forceRelease(key)),
    giveBack: (owner, ticket) => freed(session.release(key, owner, { ...ticket, waitsMs: WAITS_MS })),
    isLate: () => freedAtMs !== undefined && context.nowMs() - freedAtMs > LATE_MS,
    leave: async (ticket) => session.leave?.(key, ticket),
  };
}

/** Those who wait in one session. */
async function waitersOf(
  context: ConformanceContext,
  session: BackendSession,
  key: string,
): Promise<Pick<LineStage, "waits" | "heard">> {
  const calls = new Map<string, number>();
  check(session.watch !== undefined && session.leave !== undefined, "it says that it wakes, and cannot");
  session.watch((ticket, inMs) => calls.set(ticket, inMs));
  await untilHeard(context, session, calls);
  const ttlMs = context.deployment.maxTtlMs;

  return {
    async waits(owner, ticket) {
      const request = { key, owner, ttlMs, proposal: context.proposal() };
      return (await session.acquire({ ...request, ticket: { ...ticket, waitsMs: WAITS_MS } })).kind;
    },
    async heard(ticket) {
      for (const until = context.nowMs() + CALL_MS_MAX; context.nowMs() < until;) {
        const inMs = calls.get(ticket);
        if (inMs !== undefined) return inMs;
        await context.waitMs(LOOK_EVERY_MS);
      }
      check(false, `the waiter with ticket ${ticket} was not called within ${CALL_MS_MAX} ms`);
    },
  };
}

/** What is called before a connection for it stands is lost. */
async function untilHeard(
  context: ConformanceContext,
  session: BackendSession,
  calls: ReadonlyMap<string, number>,
): Promise<void> {
  const ticket = { id: "999", since: 1n, waitsMs: WAITS_MS };
  for (const until = context.nowMs() + CALL_MS_MAX; !calls.has(ticket.id);) {
    check(context.nowMs() < until, `nobody is called within ${CALL_MS_MAX} ms`);
    const request = { key: context.freshKey(), ttlMs: context.deployment.maxTtlMs };
    await session.acquire({ ...request, owner: ALICE, proposal: context.proposal() });
    await session.acquire({ ...request, owner: BOB, proposal: context.proposal(), ticket });
    await session.release(request.key, ALICE);
    await context.waitMs(10 * LOOK_EVERY_MS);
  }
}
