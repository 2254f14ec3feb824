import { describe, expect, it } from "vitest";
import type { LeaseLostError } from "../../src/index.js";
import { ANY_DEPLOYMENT, createStage, failOnUnhandledRejections, startedClient } from "./stage.js";

failOnUnhandledRejections();

describe("the keeper", () => {
  it.each([50, 200, 1_000, 10_000])(
    "extends a bounded number of times per TTL, at ttlMs = %i",
    async (ttlMs) => {
      const stage = createStage();
      const { locker, links, events } = await startedClient(stage);
      const lease = await stage.wait(locker.acquire("key", { ttlMs, keepAlive: true }));
      await stage.time.advance(20 * ttlMs);
      lease.assertHeld();
      expect(events("lost")).toEqual([]);
      const extends_ = links[0]?.calls.extend ?? 0;
      expect(extends_).toBeGreaterThan(40);
      expect(extends_).toBeLessThan(80);
    },
  );

  it("never spins while extensions fail, and keeps the lease once they work again", async () => {
    const stage = createStage();
    const { locker, links, events } = await startedClient(stage);
    await stage.wait(locker.acquire("key", { ttlMs: 1_000, keepAlive: true }));
    for (const link of links) link.kill();
    await stage.time.advance(800);
    expect(links[0]?.calls.extend).toBeLessThanOrEqual(20);
    expect(events("atRisk").length).toBeGreaterThan(0);
    expect(events("atRisk")[0]).toMatchObject({ key: "key", remainingMs: expect.any(Number) as number });
    for (const link of links) link.revive();
    await stage.time.advance(5_000);
    expect(events("lost")).toEqual([]);
    expect(events("extended").length).toBeGreaterThan(5);
  });

  it("stops at release, and leaves nothing running", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { keepAlive: true }));
    await stage.time.advance(3_000);
    await stage.wait(lease.release());
    const extended = links[0]?.calls.extend;
    expect(await stage.atRest()).toBe(true);
    expect(links[0]?.calls.extend).toBe(extended);
  });

  it("stops when the lease is lost", async () => {
    const stage = createStage();
    const { locker, links, events } = await startedClient(stage);
    await stage.wait(locker.acquire("key", { keepAlive: true }));
    for (const link of links) link.hang();
    await stage.time.advance(3_000);
    expect(events("lost")).toMatchObject([{ reason: "expired" }]);
    expect(await stage.atRest()).toBe(true);
  });

  it("learns at its next extension that the lease was released by force", async () => {
    const stage = createStage();
    const { locker, events } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { keepAlive: true }));
    for (const backend of stage.memories) await backend.open(ANY_DEPLOYMENT).forceRelease("key");
    const other = await startedClient(stage);
    expect((await stage.wait(other.locker.tryAcquire("key"))).acquired).toBe(true);
    await stage.time.advance(500);
    expect(events("lost")).toMatchObject([{ reason: "forced-out" }]);
    expect((lease.signal.reason as LeaseLostError).reason).toBe("forced-out");
  });

  it("is off by default in acquire", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    await stage.wait(locker.acquire("key"));
    await stage.time.advance(3_000);
    expect(links[0]?.calls.extend).toBe(0);
  });
});

describe("withLock", () => {
  it("returns the job's result, keeps the lease meanwhile, and releases it", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const result = locker.withLock("key", { ttlMs: 500 }, async (lease) => {
      await stage.time.sleep(5_000);
      lease.assertHeld();
      return 42;
    });
    expect(await stage.wait(result)).toBe(42);
    expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
  });

  it("takes a job without options, and one that is not async", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    expect(await stage.wait(locker.withLock("key", ({ key }) => key))).toBe("key");
  });

  it("keeps the job's own error, whether it throws or rejects, and whatever the release does", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const mine = new TypeError("mine");
    for (const job of [
      () => {
        for (const link of links) link.hang();
        throw mine;
      },
      async () => Promise.reject(mine),
    ]) {
      expect(await stage.error(locker.withLock("key", job))).toBe(mine);
      for (const link of links) link.resume();
      await stage.time.advance(100);
    }
  });

  it("keeps the job's result when the release fails, and reports the failure beside it", async () => {
    const stage = createStage();
    const { locker, links, events } = await startedClient(stage);
    const result = locker.withLock("key", () => {
      for (const link of links) link.kill();
      return "done";
    });
    expect(await stage.wait(result)).toBe("done");
    expect(events("released")).toMatchObject([{ outcome: "unknown" }]);
  });

  it("rejects with LEASE_LOST, which carries the result, when the lease was lost meanwhile", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    let doneAt = 0;
    const result = locker.withLock("key", async () => {
      for (const link of links) link.hang();
      await stage.time.sleep(4_000);
      doneAt = stage.time.trueMs();
      return { rows: 3 };
    });
    const error = (await stage.error(result)) as LeaseLostError;
    expect(error).toMatchObject({ code: "LEASE_LOST", reason: "expired", result: { rows: 3 } });
    expect(stage.time.trueMs()).toBeGreaterThanOrEqual(doneAt);
  });

  it("sees a loss that no timer noticed yet", async () => {
    const stage = createStage();
    const { locker, process } = await startedClient(stage);
    const result = locker.withLock("key", async () => {
      process.suspend(30_000);
      await stage.time.sleep(30_000);
      return 1;
    });
    expect(await stage.error(result)).toMatchObject({ code: "LEASE_LOST", result: 1 });
  });

  it("keeps a job's error even when the lease was lost too", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const mine = new Error("mine");
    const result = locker.withLock("key", { keepAlive: false }, async () => {
      await stage.time.sleep(5_000);
      throw mine;
    });
    expect(await stage.error(result)).toBe(mine);
  });

  it("returns the result of a job that released the lease itself", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const result = locker.withLock("key", async (lease) => {
      await lease.release();
      return "early";
    });
    expect(await stage.wait(result)).toBe("early");
  });

  it("does not run the job when the lock is not to be had", async () => {
    const stage = createStage();
    const holder = await startedClient(stage);
    await stage.wait(holder.locker.acquire("key"));
    const { locker } = await startedClient(stage);
    let ran = false;
    const result = locker.withLock("key", { waitMs: 100 }, () => {
      ran = true;
    });
    expect((await stage.error(result)).code).toBe("LOCK_HELD");
    expect(ran).toBe(false);
  });
});
