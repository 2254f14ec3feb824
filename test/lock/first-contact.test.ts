import { describe, expect, it } from "vitest";
import type { QuarantinedError } from "../../src/index.js";
import { createStage, failOnUnhandledRejections, startedClient } from "./stage.js";

failOnUnhandledRejections();

describe("first contact with a new deployment", () => {
  it('works at once under "auto", without any pause', async () => {
    const stage = createStage();
    const { locker, events } = stage.client();
    expect(await stage.lasting(locker.acquire("key"))).toBe(0);
    expect(events("backendBootstrapped").map(({ backend }) => backend)).toEqual(["b1", "b2", "b3"]);
    expect(events("backendQuarantined")).toEqual([]);
  });

  it('takes four round trips under "auto" and no pause', async () => {
    const stage = createStage();
    const { locker, links } = stage.client();
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    expect(await stage.lasting(locker.acquire("key"))).toBe(40);
  });

  it('works for tryAcquire under "auto" too', async () => {
    const stage = createStage();
    const { locker } = stage.client();
    expect((await stage.wait(locker.tryAcquire("key"))).acquired).toBe(true);
  });

  it('works under "auto" for one backend, and warns once, naming the remedies', async () => {
    const stage = createStage({ n: 1 });
    const { locker, events } = stage.client();
    for (const key of ["a", "b"]) await stage.wait(locker.acquire(key));
    expect(events("warning")).toHaveLength(1);
    expect(events("warning")[0]?.text).toMatch(/b1 is the only backend.*durable.*strict/s);
  });

  it('is refused under "strict" with an error that says for how long, and works after bootstrap()', async () => {
    const stage = createStage();
    const { locker, events } = stage.client({ restartGuard: "strict", waitMs: 100 });
    const error = (await stage.error(locker.acquire("key"))) as QuarantinedError;
    expect(error.code).toBe("QUARANTINED");
    expect(error.message).toMatch(/cannot be granted for another 6\d\.\d s/);
    expect(error.retryAfterMs).toBeGreaterThan(60_000);
    expect(error.votes.slice(0, 2).map(({ vote }) => vote)).toEqual(["quarantined", "quarantined"]);
    expect(events("backendQuarantined").map(({ backend }) => backend)).toEqual(["b1", "b2", "b3"]);

    expect(await stage.wait(locker.bootstrap())).toEqual(["b1", "b2", "b3"]);
    expect(await stage.lasting(locker.acquire("key"))).toBe(0);
    expect(await stage.wait(locker.bootstrap())).toEqual([]);
  });

  it('starts by itself under "strict" when the quarantine is over', async () => {
    const stage = createStage();
    const { locker } = stage.client({
      restartGuard: "strict",
      maxTtlMs: 1_000,
      clockSkewMs: 100,
      waitMs: 5_000,
    });
    const tookMs = await stage.lasting(locker.acquire("key"));
    expect(tookMs).toBeGreaterThanOrEqual(1_212);
    expect(tookMs).toBeLessThan(1_500);
  });

  it('asks nobody under "off"', async () => {
    const stage = createStage();
    const { locker, links } = stage.client({ restartGuard: "off" });
    expect(await stage.lasting(locker.acquire("key"))).toBe(0);
    expect(links.map(({ calls }) => [calls.acquire, calls.bootstrap])).toEqual([
      [1, 0],
      [1, 0],
      [1, 0],
    ]);
  });

  it("does not start a deployment of which one backend cannot be reached", async () => {
    const stage = createStage();
    const { locker, links } = stage.client({ waitMs: 1_000 });
    links[2]?.hang();
    expect((await stage.error(locker.acquire("key"))).code).toBe("QUARANTINED");
    expect(links.map(({ calls }) => calls.bootstrap)).toEqual([0, 0, 0]);
    links[2]?.resume();
    await stage.wait(locker.acquire("key"));
  });

  it("sends a bootstrap again when it failed, so that no backend stays out for a whole quarantine", async () => {
    const stage = createStage();
    const { locker, links } = stage.client({ waitMs: 5_000 });
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    const acquiring = locker.acquire("key");
    // The two looks are over; the bootstraps are on their way.
    await stage.time.advance(22);
    expect(links.map(({ calls }) => calls.bootstrap)).toEqual([1, 1, 1]);
    for (const link of links.slice(1)) {
      link.kill();
      link.revive();
    }
    await stage.wait(acquiring);
    expect(stage.time.trueMs()).toBeLessThan(500);
    await stage.time.advance(500);
    for (const backend of stage.memories) {
      expect((await stage.wait(backend.open(DEPLOYMENT).status())).kind).toBe("in-service");
    }
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "works soon for four lockers that start at once (seed %i)",
    async (seed) => {
      const stage = createStage({ seed });
      const clients = [1, 2, 3, 4].map(() => stage.client());
      for (const { links } of clients) {
        for (const link of links) link.setDelay({ toMs: [1, 5], backMs: [1, 5] });
      }
      const leases = await stage.wait(
        Promise.all(clients.map(({ locker }, i) => locker.acquire(`key-${i}`))),
      );
      expect(leases).toHaveLength(4);
      expect(stage.time.trueMs()).toBeLessThan(300);
    },
  );

  it("works for a locker that starts while another one is at work", async () => {
    const stage = createStage();
    await startedClient(stage);
    const { locker, events } = stage.client();
    expect(await stage.lasting(locker.acquire("key"))).toBe(0);
    expect(events("backendBootstrapped")).toEqual([]);
  });
});

describe("bootstrap()", () => {
  it("rejects with NO_QUORUM when a backend did not answer the question", async () => {
    const stage = createStage();
    const { locker, links } = stage.client({ restartGuard: "strict" });
    links[1]?.hang();
    const error = await stage.error(locker.bootstrap());
    expect(error.code).toBe("NO_QUORUM");
    expect(error.message).toMatch(/b2 failed \(no answer within/);
  });

  it("rejects with NO_QUORUM when a backend did not answer the bootstrap itself", async () => {
    const stage = createStage();
    const { locker, links } = stage.client({ restartGuard: "strict" });
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    const starting = locker.bootstrap();
    starting.catch(() => undefined);
    await stage.time.advance(7);
    links[1]?.hang();
    expect((await stage.error(starting)).message).toMatch(/b2 failed \(no answer within/);
  });

  it("rejects with NO_QUORUM and the cause when a backend is down", async () => {
    const stage = createStage();
    const { locker, links } = stage.client({ restartGuard: "strict" });
    links[0]?.kill();
    const error = await stage.error(locker.bootstrap());
    expect(error.message).toContain("b1 failed (connection refused)");
  });

  it("rejects with CLOSED after close()", async () => {
    const stage = createStage();
    const { locker } = stage.client();
    await stage.wait(locker.close());
    expect((await stage.error(locker.bootstrap())).code).toBe("CLOSED");
  });
});

const DEPLOYMENT = {
  backends: 3,
  quorum: 2,
  maxTtlMs: 60_000,
  clockSkewMs: 1_000,
  quarantineMs: 62_609,
  tokenRetentionMs: 604_800_000,
  restartGuard: "auto",
} as const;

describe("a backend that restarted without its memory", () => {
  it("does not vote while its quarantine lasts, and votes after it", async () => {
    const stage = createStage();
    const figures = { maxTtlMs: 2_000, clockSkewMs: 100 };
    const { locker, links, events } = await startedClient(stage, figures);
    stage.memories[0]?.restart("lost");
    const restartedAt = stage.time.trueMs();
    const lease = await stage.wait(locker.acquire("key"));
    expect(events("acquired")[0]?.votes.map(({ vote }) => vote)).toContain("quarantined");
    expect(events("backendQuarantined")).toMatchObject([{ backend: "b1" }]);
    await stage.wait(lease.release());

    // Two in service are needed now, and one is down.
    links[1]?.hang();
    const refusal = await stage.error(locker.acquire("key", { waitMs: 0 }));
    expect(refusal.code).toBe("QUARANTINED");
    await stage.wait(locker.acquire("key", { waitMs: 5_000 }));
    expect(stage.time.trueMs() - restartedAt).toBeGreaterThan(2_200);
    expect(stage.time.trueMs() - restartedAt).toBeLessThan(2_700);
  });

  it("is told that a deployment exists, so that nobody starts it anew", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    stage.memories[0]?.restart("lost");
    await stage.wait(locker.acquire("key"));
    await stage.time.advance(100);
    expect(links.map(({ calls }) => calls.join)).toEqual([1, 0, 0]);
    expect(await stage.wait(stage.memories[0]?.open(DEPLOYMENT).status() ?? Promise.reject())).toMatchObject({
      kind: "quarantined",
      joined: true,
    });
  });

  it("is told again until it acknowledged", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    stage.memories[0]?.restart("lost");
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    await stage.wait(locker.acquire("key"));
    links[0]?.kill();
    await stage.time.advance(500);
    links[0]?.revive();
    await stage.time.advance(5_000);
    expect(await stage.wait(stage.memories[0]?.open(DEPLOYMENT).status() ?? Promise.reject())).toMatchObject({
      joined: true,
    });
  });

  it("is reported by a locker that hears of it before it hears of the others", async () => {
    const stage = createStage();
    await startedClient(stage);
    stage.memories[0]?.restart("lost");
    const late = stage.client();
    late.links[1]?.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    late.links[2]?.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    for (const key of ["a", "b"]) await stage.wait(late.locker.acquire(key));
    expect(late.events("backendQuarantined").map(({ backend }) => backend)).toEqual(["b1"]);
  });

  it("that was told of a deployment is not started by a newcomer, though all of them are in quarantine", async () => {
    const stage = createStage();
    await startedClient(stage);
    for (const backend of stage.memories) {
      backend.restart("lost");
      const session = backend.open(DEPLOYMENT);
      await session.join((await session.status()).identity.incarnation);
    }
    const { locker, links } = stage.client({ waitMs: 500 });
    expect((await stage.error(locker.acquire("key"))).code).toBe("QUARANTINED");
    expect(links.map(({ calls }) => calls.bootstrap)).toEqual([0, 0, 0]);
  });

  it("lets four lockers that start during it win with the others, and none of them starts anything", async () => {
    const stage = createStage();
    await startedClient(stage);
    stage.memories[1]?.restart("lost");
    const clients = [1, 2, 3, 4].map(() => stage.client());
    await stage.wait(Promise.all(clients.map(({ locker }, i) => locker.acquire(`key-${i}`))));
    expect(clients.flatMap(({ links }) => links.map(({ calls }) => calls.bootstrap))).toEqual(
      Array(12).fill(0),
    );
  });

  it("keeps the lease of a holder whose lock survived a restart with memory", async () => {
    const stage = createStage();
    const { locker, events } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    for (const backend of stage.memories) backend.restart("kept");
    expect(await stage.wait(lease.extend())).toBeGreaterThan(900);
    expect(events("extended")[0]?.votes.map(({ vote }) => vote)).toContain("granted");
  });
});
