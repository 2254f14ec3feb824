import { describe, expect, it } from "vitest";
import {
  createHighWaterMarks,
  guardInProcess,
  InvalidOptionError,
  LeaseLostError,
  NoQuorumError,
  StaleTokenError,
  type BackendError,
} from "../../src/index.js";
import { ANY_DEPLOYMENT, createStage, failOnUnhandledRejections, startedClient } from "./stage.js";

failOnUnhandledRejections();

const MAX = 2n ** 53n - 2n;

describe("forceRelease", () => {
  it("deletes the lock everywhere, so that another one gets it, with a larger token", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const operator = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { ttlMs: 60_000 }));
    const report = await stage.wait(operator.locker.forceRelease("key"));
    expect(report).toEqual({
      key: "key",
      released: true,
      backends: ["b1", "b2", "b3"].map((backend) => ({ backend, outcome: "released" })),
    });
    expect(operator.events("forceReleased")).toMatchObject([{ key: "key", released: true }]);
    const next = await stage.wait(operator.locker.acquire("key", { waitMs: 0 }));
    expect(next.token).toBeGreaterThan(lease.token);
  });

  it("is learnt by the holder at the next extension, and its writes meet the guard", async () => {
    const stage = createStage();
    const { locker, events } = await startedClient(stage);
    const operator = await startedClient(stage);
    const marks = createHighWaterMarks();
    const lease = await stage.wait(locker.acquire("key"));
    guardInProcess(marks, lease);
    await stage.wait(operator.locker.forceRelease("key"));
    const next = await stage.wait(operator.locker.acquire("key"));
    guardInProcess(marks, next);
    // It does not know yet, and only the guard stops it.
    lease.assertHeld();
    expect(() => guardInProcess(marks, lease)).toThrow(StaleTokenError);
    const error = (await stage.error(lease.extend())) as LeaseLostError;
    expect(error).toBeInstanceOf(LeaseLostError);
    expect(error.reason).toBe("forced-out");
    expect(events("lost")).toMatchObject([{ reason: "forced-out" }]);
    expect(await stage.wait(lease.release())).toBe("not-owner");
    next.assertHeld();
    expect(await stage.wait(next.extend())).toBeGreaterThan(900);
  });

  it("is learnt by a kept lease within a third of its validity, also when nobody took the lock", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { keepAlive: true }));
    await stage.wait(locker.forceRelease("key"));
    await stage.time.advance(350);
    expect((lease.signal.reason as LeaseLostError).reason).toBe("forced-out");
    expect((await stage.wait(locker.inspect("key"))).state).toBe("free");
  });

  it("says that nothing was there", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const { released, backends } = await stage.wait(locker.forceRelease("key"));
    expect(released).toBe(false);
    expect(backends.map(({ outcome }) => outcome)).toEqual([
      "nothing-there",
      "nothing-there",
      "nothing-there",
    ]);
  });

  it("goes on with one backend dead, and rejects when fewer than a quorum confirmed, within two deadlines", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    await stage.wait(locker.acquire("key", { ttlMs: 60_000 }));
    links[0]?.kill();
    const { backends } = await stage.wait(locker.forceRelease("key"));
    expect(backends.map(({ outcome }) => outcome)).toEqual(["fault", "released", "released"]);
    links[1]?.hang();
    const forced = locker.forceRelease("key");
    expect(await stage.lasting(forced)).toBeLessThanOrEqual(2 * 200 + 5);
    const error = (await stage.error(forced)) as NoQuorumError;
    expect(error).toBeInstanceOf(NoQuorumError);
    expect(error.votes.map(({ vote }) => vote)).toEqual(["fault", "fault", "confirmed"]);
    expect(error.message).toMatch(/repeat it when they answer.*b3 confirmed/);
  });

  it("does nothing for a locker that is configured otherwise, or has a server twice", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { ttlMs: 60_000 }));
    const other = stage.client({ of: [0, 1], quorum: 2 }).locker;
    expect((await stage.error(other.forceRelease("key"))).code).toBe("CONFIG_MISMATCH");
    expect((await stage.error(other.lift("key", MAX))).code).toBe("CONFIG_MISMATCH");
    expect((await stage.error(other.quarantine("b1"))).code).toBe("BACKEND_MARK_MISMATCH");
    const report = await stage.wait(locker.inspect("key"));
    expect(report).toMatchObject({ state: "held", counter: lease.token });
    expect(report.views.every((view) => view.kind === "locked" && view.quarantinedMs === undefined)).toBe(
      true,
    );
  });
});

describe("lift", () => {
  it("makes every later token larger, and leaves the lease of now alone", async () => {
    const stage = createStage();
    const { locker, events } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    const token = lease.token + 1_000_000_000_000n;
    const report = await stage.wait(locker.lift("key", token));
    expect(report.backends).toEqual(
      ["b1", "b2", "b3"].map((backend) => ({ backend, outcome: "lifted", counter: token })),
    );
    expect(events("lifted")).toMatchObject([{ key: "key", token }]);
    lease.assertHeld();
    expect(await stage.wait(lease.extend())).toBeGreaterThan(900);
    expect((await stage.wait(locker.inspect("key"))).token).toBeUndefined();
    await stage.wait(lease.release());
    expect((await stage.wait(locker.acquire("key"))).token).toBe(token + 1n);
  });

  it("never lowers a counter, and tells it", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const { token } = await stage.wait(locker.acquire("key"));
    const { backends } = await stage.wait(locker.lift("key", 1n));
    expect(backends).toMatchObject([{ counter: token }, { counter: token }, { counter: token }]);
  });

  it("is enough on a quorum, and rejects below it", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    links[0]?.kill();
    await stage.wait(locker.lift("key", 4_000_000_000_000_000n));
    links[0]?.revive();
    links[2]?.kill();
    expect((await stage.wait(locker.acquire("key"))).token).toBe(4_000_000_000_000_001n);
    links[1]?.kill();
    expect(await stage.error(locker.lift("key", 1n))).toBeInstanceOf(NoQuorumError);
  });

  it.each([0n, -1n, MAX + 1n, 5 as unknown as bigint, "5" as unknown as bigint])(
    "refuses the token %s",
    async (token) => {
      const stage = createStage();
      const { locker } = await startedClient(stage);
      expect(await stage.error(locker.lift("key", token))).toBeInstanceOf(InvalidOptionError);
    },
  );
});

describe("quarantine", () => {
  it("takes one backend out of the vote for as long as a new memory would be", async () => {
    const stage = createStage();
    const { locker, events, links } = await startedClient(stage, { maxTtlMs: 2_000 });
    const { backend, remainingMs } = await stage.wait(locker.quarantine("b2"));
    expect(backend).toBe("b2");
    expect(remainingMs).toBeGreaterThan(4_000);
    expect(events("quarantineBegun")).toEqual([{ backend, remainingMs }]);
    expect(events("backendQuarantined")).toMatchObject([{ backend, joined: true }]);
    links[2]?.kill();
    expect((await stage.error(locker.acquire("key", { waitMs: 0 }))).code).toBe("QUARANTINED");
    await stage.time.advance(remainingMs);
    await stage.wait(locker.acquire("key"));
  });

  it("rejects for a name that no backend has, and with what the backend answers", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    expect((await stage.error(locker.quarantine("b9"))).message).toMatch(/"b1", "b2", "b3"/);
    links[0]?.hang();
    expect((await stage.error(locker.quarantine("b1"))).code).toBe("BACKEND_TIMEOUT");
    const off = createStage();
    const { locker: careless } = off.client({ restartGuard: "off" });
    expect(((await off.error(careless.quarantine("b1"))) as BackendError).code).toBe("BACKEND_UNSUPPORTED");
  });
});

describe("examine", () => {
  it("tells of each backend who and how it is, how long it takes and how its clock differs", async () => {
    const stage = createStage();
    const { locker, links, process } = await startedClient(stage);
    for (const link of links) link.setDelay({ toMs: [4, 4], backMs: [2, 2] });
    process.jumpWall(-3_000);
    const found = await stage.wait(locker.examine());
    expect(found.map(({ backend }) => backend)).toEqual(["b1", "b2", "b3"]);
    for (const one of found) {
      expect(one).toMatchObject({
        kind: "memory",
        status: { reply: { kind: "in-service" } },
        sameServerAs: [],
      });
      expect(one.examination).toMatchObject({ kind: "reply", reply: { server: "memory" } });
      expect(one.latencyMs).toBeCloseTo(6, 3);
      const { offsetMs, uncertaintyMs } = one.clock ?? { offsetMs: Number.NaN, uncertaintyMs: Number.NaN };
      expect(Math.abs(offsetMs - 3_000)).toBeLessThanOrEqual(uncertaintyMs);
      expect(uncertaintyMs).toBeLessThanOrEqual(4 + 1e-6);
    }
  });

  it("tells why one does not answer or does not count, and which are one server, and resolves in any case", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    links[0]?.hang();
    links[1]?.kill();
    const asked = locker.examine();
    expect(await stage.lasting(asked)).toBeLessThanOrEqual(3 * 200 + 10);
    const [first, second, third] = await asked;
    expect(first).toMatchObject({
      status: { error: { code: "BACKEND_TIMEOUT" } },
      examination: { kind: "fault" },
    });
    expect(first?.latencyMs).toBeUndefined();
    expect(second).toMatchObject({ status: { error: { code: "BACKEND_NOT_CONNECTED" } } });
    expect(third).toMatchObject({ status: { kind: "reply" } });
    const other = stage.client({ of: [2], quorum: 1 }).locker;
    const [mismatch] = await stage.wait(other.examine());
    expect(mismatch).toMatchObject({
      status: { error: { code: "BACKEND_MARK_MISMATCH" } },
      examination: { kind: "reply" },
    });
    expect(await stage.memories[2]?.open(ANY_DEPLOYMENT).status()).toMatchObject({ kind: "in-service" });
  });
});
