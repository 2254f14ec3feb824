/** The names by which waiters stand in line. */
import { describe, expect, it } from "vitest";
import { createCalls } from "../../src/lock/calls.js";
import { createLocker } from "../../src/lock/locker.js";
import { memory } from "../../src/adapters/memory.js";
import type { Backend, BackendSession, Ticket } from "../../src/backend.js";
import { processSystem } from "../../src/lock/system.js";
import { instant } from "../../src/engine/time.js";
import type { Link } from "../../src/lock/link.js";
import { ANY_DEPLOYMENT } from "./stage.js";

const LINK = { calls: true, watch: () => () => undefined } as unknown as Link;
const TICKETS = 12;

function namesOf(random: number): readonly string[] {
  const calls = createCalls([LINK], 1, { ...processSystem, random: () => random });
  return Array.from({ length: TICKETS }, () => calls.stand("k")?.ticket(1_000).id ?? "");
}

describe("the names of waiters", () => {
  it("are digits, and those of one locker are all before those of another, whatever backend orders them", () => {
    const [one, other] = [namesOf(0.000_000_012_3), namesOf(0.2)] as const;
    for (const name of [...one, ...other]) expect(name).toMatch(/^\d{10,}$/);
    expect(new Set([...one, ...other]).size).toBe(2 * TICKETS);
    expect([...other, ...one].sort().slice(0, TICKETS).toSorted()).toEqual(one.toSorted());
  });
});

describe("an attempt that is lost", () => {
  it("gives back what it got with its ticket while its wait goes on", async () => {
    const released: (Ticket | undefined)[] = [];
    const seen = (backend: Backend): Backend => ({
      ...backend,
      open(deployment): BackendSession {
        const session = backend.open(deployment);
        return {
          ...session,
          release(key, owner, ticket) {
            if (key === "k") released.push(ticket);
            return session.release(key, owner, ticket);
          },
        };
      },
    });
    const stores = [memory(), memory()];
    const holder = createLocker({ backends: stores });
    const waiter = createLocker({ backends: stores.map(seen), retryDelayMsMin: 1, retryDelayMsMax: 2 });
    await (await waiter.acquire("start")).release();
    const lease = await holder.acquire("k");
    // It is gone on one of two: the waiter is granted there, and held on the other one.
    await stores[0]?.open(ANY_DEPLOYMENT).forceRelease("k");
    const abort = new AbortController();
    const waits = waiter
      .acquire("k", { waitMs: 60_000, signal: abort.signal })
      .catch((error: unknown) => error);
    const until = performance.now() + 10_000;
    while (!released.some((ticket) => ticket !== undefined) && performance.now() < until) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(released.find((ticket) => ticket !== undefined)).toMatchObject({
      id: expect.stringMatching(/^\d+$/) as unknown,
      waitsMs: expect.closeTo(60_000, -4) as unknown,
    });
    abort.abort();
    expect(await waits).toMatchObject({ code: "ABORTED" });
    await waiter.close();
    await lease.release();
    await holder.close();
  });
});

describe("a pause in line", () => {
  it("takes a millisecond, also where what is left of the wait is a rounding that no clock shows", () => {
    const started: number[] = [];
    const system = {
      ...processSystem,
      now: () => instant(1_000_000.1),
      startTimer(_purpose: unknown, delayMs: number) {
        started.push(delayMs);
        return undefined as never;
      },
    };
    const nobody = { interrupted: () => false, listen: () => () => undefined };
    void createCalls([LINK], 1, system)
      .stand("k")
      ?.pause(1e-12, nobody, () => false);
    expect(started).toEqual([expect.closeTo(1, 6)]);
  });
});
