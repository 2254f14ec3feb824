import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import type { Lease, LeaseLostError } from "../../src/index.js";
import {
  ANY_DEPLOYMENT,
  createStage,
  failOnUnhandledRejections,
  startedClient,
  type Stage,
} from "./stage.js";

failOnUnhandledRejections();

/** When by true time the signal aborts; undefined while it did not. */
function abortedAt(stage: Stage, lease: Lease): () => number | undefined {
  let atMs: number | undefined;
  lease.signal.addEventListener("abort", () => {
    atMs = stage.time.trueMs();
  });
  return () => atMs;
}

async function forceRelease(stage: Stage, key: string): Promise<void> {
  for (const backend of stage.memories) await stage.wait(backend.open(ANY_DEPLOYMENT).forceRelease(key));
}

describe("the loss signal", () => {
  it.each([50, 60, 100, 137, 250, 251, 300, 500, 999, 1_000, 2_500, 10_000, 60_000])(
    "comes between 50 ms before the end of validity and the end, with all backends hung, at ttlMs = %i",
    async (ttlMs) => {
      for (const ratePpm of [-5_000, -1_234, 0, 777, 5_000]) {
        for (const keepAlive of [false, true]) {
          const stage = createStage();
          const { locker, links, process } = await startedClient(stage, { clock: { ratePpm } });
          const lease = await stage.wait(locker.acquire("key", { ttlMs, keepAlive }));
          const validFromNow = lease.remainingMs / (1 + ratePpm / 1e6);
          const endsAt = stage.time.trueMs() + validFromNow;
          const aborted = abortedAt(stage, lease);
          for (const link of links) link.hang();
          await stage.time.advance(ttlMs + 1_000);
          expect(aborted()).toBeLessThanOrEqual(endsAt + 1e-6);
          expect(aborted()).toBeGreaterThanOrEqual(endsAt - 50);
          expect((lease.signal.reason as LeaseLostError).reason).toBe("expired");
          expect(lease.remainingMs).toBe(0);
          expect(process.now()).toBeGreaterThan(0);
        }
      }
    },
  );

  it("comes in time for a short lease that was acquired right after a suspend, beside a long one", async () => {
    for (const sleptMs of [30, 100, 150, 200, 260, 1_000]) {
      const stage = createStage();
      const { locker, process } = await startedClient(stage);
      await stage.wait(locker.acquire("long", { ttlMs: 30_000 }));
      await stage.time.advance(5);
      process.suspend(sleptMs);
      await stage.time.advance(sleptMs + 1);
      const lease = await stage.wait(locker.acquire("short", { ttlMs: 100 }));
      const endsAt = stage.time.trueMs() + lease.remainingMs;
      const aborted = abortedAt(stage, lease);
      await stage.time.advance(500);
      expect(aborted(), `after ${sleptMs} ms`).toBeLessThanOrEqual(endsAt + 1e-6);
    }
  });

  it("comes for many leases of one locker, each at its own end", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    for (let i = 0; i < 60; i++) {
      const lease = await stage.wait(locker.acquire(`key-${i}`, { ttlMs: 50 + 37 * ((i * 7) % 60) }));
      const endsAt = stage.time.trueMs() + lease.remainingMs;
      const aborted = abortedAt(stage, lease);
      if (i % 3 === 0) await stage.time.advance(11);
      void stage.time.sleep(endsAt - stage.time.trueMs() + 1).then(() => {
        expect(aborted()).toBeLessThanOrEqual(endsAt + 1e-6);
        expect(aborted()).toBeGreaterThanOrEqual(endsAt - 50);
      });
    }
    await stage.time.advance(5_000);
  });

  it("does not come for a lease that was released", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    const aborted = abortedAt(stage, lease);
    await stage.wait(lease.release());
    await stage.time.advance(5_000);
    expect(aborted()).toBeUndefined();
    expect(lease.signal.aborted).toBe(false);
  });

  it("is there at once when it is asked for after the loss", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    await stage.time.advance(5_000);
    expect(lease.signal.aborted).toBe(true);
    expect((lease.signal.reason as LeaseLostError).code).toBe("LEASE_LOST");
  });

  it("comes at the first slice after the machine slept", async () => {
    const stage = createStage();
    const { locker, process } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { ttlMs: 10_000 }));
    const aborted = abortedAt(stage, lease);
    await stage.time.advance(1_000);
    process.suspend(60_000);
    const wokeAt = stage.time.trueMs() + 60_000;
    await stage.time.advance(61_000);
    expect((aborted() ?? Number.NaN) - wokeAt).toBeLessThanOrEqual(250);
  });
});

describe("a process that did not run for a while", () => {
  it.each(["suspend", "stall"] as const)(
    "sees at its first look after a %s that the lease is over",
    async (how) => {
      const stage = createStage();
      const { locker, process, events } = await startedClient(stage);
      const lease = await stage.wait(locker.acquire("key"));
      process[how](5_000);
      await stage.time.advance(5_000.5);
      expect(lease.remainingMs).toBe(0);
      expect(() => lease.assertHeld()).toThrow(
        expect.objectContaining({ code: "LEASE_LOST", reason: "expired" }),
      );
      expect(events("lost")).toHaveLength(1);
    },
  );

  it.each(["suspend", "stall"] as const)("sees after a short %s how much validity is left", async (how) => {
    const stage = createStage();
    const { locker, process } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    const before = lease.remainingMs;
    process[how](300);
    await stage.time.advance(300);
    expect(lease.remainingMs).toBeCloseTo(before - 300, 6);
    expect(() => lease.assertHeld(before)).toThrow(expect.objectContaining({ reason: "too-short" }));
    expect(() => lease.assertHeld(500)).not.toThrow();
  });

  it("does not count an extension that was answered after the old end", async () => {
    const stage = createStage();
    const { locker, process, links } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    const extending = lease.extend();
    extending.catch(() => undefined);
    await stage.time.advance(7);
    process.suspend(1_500);
    expect(((await stage.error(extending)) as LeaseLostError).reason).toBe("expired");
    expect(lease.remainingMs).toBe(0);
  });

  it("is not told anything by jumps of its wall clock", async () => {
    const stage = createStage();
    const { locker, process, heard } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    const before = lease.remainingMs;
    for (const ms of [3_600_000, -7_200_000, 86_400_000]) {
      process.jumpWall(ms);
      await stage.time.advance(10);
    }
    expect(lease.remainingMs).toBeCloseTo(before - 30, 6);
    await stage.wait(lease.extend());
    await stage.wait(lease.release());
    expect((await stage.wait(locker.tryAcquire("key"))).acquired).toBe(true);
    expect(heard.map(({ name }) => name)).toEqual(["acquired", "extended", "released", "acquired"]);
  });
});

describe("extend", () => {
  it("prolongs from the moment before it was sent, and never shortens", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { ttlMs: 5_000 }));
    for (const link of links) link.setDelay({ toMs: [20, 20], backMs: [20, 20] });
    await stage.time.advance(1_000);
    const sentAt = stage.time.trueMs();
    const left = await stage.wait(lease.extend());
    expect(left).toBeCloseTo((5_000 * 0.995) / 1.005 - 1 - (stage.time.trueMs() - sentAt), 6);
    expect(await stage.wait(lease.extend(1_000))).toBeGreaterThan(4_800);
    expect(await stage.wait(lease.extend(50_000))).toBeGreaterThan(49_000);
  });

  it("rejects with NO_QUORUM when too few backends confirm, and the lease goes on until its old end", async () => {
    const stage = createStage();
    const { locker, links, events } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    for (const link of links.slice(1)) link.kill();
    const error = await stage.error(lease.extend());
    expect(error.code).toBe("NO_QUORUM");
    expect(error.message).toContain("b2 failed (connection refused)");
    expect(lease.remainingMs).toBeGreaterThan(900);
    expect(events("atRisk")).toHaveLength(1);
    for (const link of links) link.revive();
    await stage.time.advance(500);
    expect(await stage.wait(lease.extend())).toBeGreaterThan(900);
  });

  it("rejects with LEASE_LOST when the lease is over, and sends nothing", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    await stage.wait(lease.release());
    expect(((await stage.error(lease.extend())) as LeaseLostError).reason).toBe("released");
    expect(links.map(({ calls }) => calls.extend)).toEqual([0, 0, 0]);
  });

  it("runs one round at a time", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    for (const link of links) link.setDelay({ toMs: [10, 10], backMs: [10, 10] });
    const all = Promise.all([lease.extend(2_000), lease.extend(3_000), lease.extend(4_000)]);
    await stage.time.advance(1);
    expect(links.map(({ calls }) => calls.extend)).toEqual([1, 1, 1]);
    await stage.wait(all);
    expect(links.map(({ calls }) => calls.extend)).toEqual([3, 3, 3]);
  });

  it("heals a backend that lost its memory once its quarantine is over, and never before", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage, { maxTtlMs: 2_000, clockSkewMs: 100 });
    const lease = await stage.wait(locker.acquire("key", { ttlMs: 2_000 }));
    stage.memories[0]?.restart("lost");
    await stage.wait(lease.extend());
    expect((await stage.owners("key"))[0]).toBeUndefined();
    for (let round = 0; round < 4; round++) {
      await stage.time.advance(800);
      await stage.wait(lease.extend());
    }
    expect((await stage.owners("key"))[0]).toBe((await stage.owners("key"))[1]);
  });

  it("does not put back what was released by force", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    await forceRelease(stage, "key");
    const error = (await stage.error(lease.extend())) as LeaseLostError;
    expect(error.reason).toBe("forced-out");
    expect(lease.signal.aborted).toBe(true);
    expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
  });

  it("does not put back on one backend what was released by force there, and goes on with the others", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    await stage.wait(stage.memories[0]?.open(ANY_DEPLOYMENT).forceRelease("key") ?? Promise.reject());
    expect(await stage.wait(lease.extend())).toBeGreaterThan(900);
    expect((await stage.owners("key"))[0]).toBeUndefined();
  });
});

describe("a lease", () => {
  it("tells JSON.stringify and util.inspect what it is, and never the owner", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    const owner = (await stage.owners("key"))[0] ?? "";
    expect(owner).toMatch(/^[0-9a-f]{32}$/);
    const json = JSON.parse(JSON.stringify(lease)) as object;
    expect(json).toEqual({
      key: "key",
      token: lease.token.toString(),
      state: "held",
      remainingMs: expect.any(Number) as number,
      ownerHash: expect.stringMatching(/^[0-9a-f]{8}$/) as string,
    });
    for (const text of [JSON.stringify(lease), inspect(lease, { depth: 10, showHidden: true })]) {
      expect(text).not.toContain(owner);
      expect(text).toContain(lease.token.toString());
    }
    await stage.wait(lease.release());
    expect(lease.toJSON()).toMatchObject({ state: "released", remainingMs: 0 });
  });

  it("is released by Symbol.asyncDispose", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    await stage.wait(Promise.resolve(lease[Symbol.asyncDispose]()));
    expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
  });

  it("is released once however often that is asked", async () => {
    const stage = createStage();
    const { locker, links, events } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    const before = links[0]?.calls.release ?? 0;
    expect(await stage.wait(Promise.all([lease.release(), lease.release()]))).toEqual([
      "released",
      "released",
    ]);
    expect(await stage.wait(lease.release())).toBe("released");
    expect((links[0]?.calls.release ?? 0) - before).toBe(1);
    expect(events("released")).toHaveLength(1);
  });

  it('says "not-owner" and "unknown" when its release found nothing, or nobody', async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const first = await stage.wait(locker.acquire("first"));
    await stage.time.advance(2_000);
    expect(await stage.wait(first.release())).toBe("not-owner");
    const second = await stage.wait(locker.acquire("second"));
    for (const link of links) link.hang();
    expect(await stage.lasting(second.release())).toBe(200);
    expect(await second.release()).toBe("unknown");
  });

  it.each([-1, Number.NaN, "soon" as unknown as number])("refuses assertHeld(%s)", async (forMs) => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    expect(() => lease.assertHeld(forMs)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });

  it.each([0, -1, 49, 1.5, Number.NaN, 60_001, "1s" as unknown as number])(
    "refuses extend(%s)",
    async (ttlMs) => {
      const stage = createStage();
      const { locker } = await startedClient(stage);
      const lease = await stage.wait(locker.acquire("key"));
      expect((await stage.error(lease.extend(ttlMs))).code).toBe("INVALID_OPTION");
    },
  );
});
