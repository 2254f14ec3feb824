import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import {
  createHighWaterMarks,
  guardInProcess,
  HandOverRefusedError,
  LeaseLostError,
  NoQuorumError,
  type HandOver,
  type Lease,
} from "../../src/index.js";
import {
  ANY_DEPLOYMENT,
  createStage,
  failOnUnhandledRejections,
  startedClient,
  type Client,
  type Stage,
} from "./stage.js";

failOnUnhandledRejections();

/** Two processes, and a lease of the first one on "key". */
async function twoProcesses(
  options: { readonly keepAlive?: boolean; readonly n?: number } = {},
): Promise<{ stage: Stage; first: Client; second: Client; lease: Lease }> {
  const stage = createStage(options.n === undefined ? {} : { n: options.n });
  const first = await startedClient(stage);
  const second = await startedClient(stage);
  const lease = await stage.wait(first.locker.acquire("key", { keepAlive: options.keepAlive ?? false }));
  return { stage, first, second, lease };
}

async function onAll(stage: Stage, indexes: readonly number[]): Promise<void> {
  for (const index of indexes) {
    const session = stage.memories[index]?.open(ANY_DEPLOYMENT);
    if (session !== undefined) await stage.wait(session.forceRelease("key"));
  }
}

/** What a late duplicate of the first holder's acquire does, on all backends. */
async function duplicateAcquire(stage: Stage, { owner, ttlMs }: HandOver): Promise<void> {
  for (const backend of stage.memories) {
    await stage.wait(backend.open(ANY_DEPLOYMENT).acquire({ key: "key", owner, ttlMs, proposal: 1n }));
  }
}

/** The rejection, as a lost lease. */
async function lost(stage: Stage, promise: Promise<unknown>): Promise<LeaseLostError> {
  const error = await stage.error(promise);
  expect(error).toBeInstanceOf(LeaseLostError);
  return error as LeaseLostError;
}

describe("a lease that is handed over", () => {
  it("goes on in another process with the same token, through JSON, and nobody gets it in between", async () => {
    const stage = createStage();
    const first = await startedClient(stage);
    const second = await startedClient(stage);
    const third = await startedClient(stage);
    const lease = await stage.wait(first.locker.acquire("key"));
    const waiting = third.locker.acquire("key", { waitMs: 60_000 });
    let got = false;
    void waiting.then(() => (got = true));
    await stage.time.advance(400);
    const text = JSON.stringify(await stage.wait(lease.handOver()));
    await stage.time.advance(300);
    const adopted = await stage.wait(second.locker.adopt(JSON.parse(text) as HandOver, { keepAlive: true }));
    expect(adopted.token).toBe(lease.token);
    expect(adopted.key).toBe("key");
    expect(adopted.remainingMs).toBeGreaterThan(900);
    await stage.time.advance(10_000);
    adopted.assertHeld();
    expect(got).toBe(false);
    expect(await stage.wait(adopted.release())).toBe("released");
    expect((await stage.wait(waiting)).token).toBeGreaterThan(adopted.token);
    expect(first.events("handedOver")).toMatchObject([{ key: "key", token: lease.token }]);
    expect(first.events("lost")).toEqual([]);
    expect(second.events("adopted")).toMatchObject([
      { key: "key", token: lease.token, ownerHash: lease.toJSON().ownerHash },
    ]);
    expect(second.events("acquired")).toEqual([]);
  });

  it("is over for the first holder at once: no keeper, no use, no release that is sent, and no signal", async () => {
    const { stage, first, second, lease } = await twoProcesses({ keepAlive: true });
    const { signal } = lease;
    const handOver = await stage.wait(lease.handOver());
    const before = first.links.map(({ calls }) => calls);
    expect(lease.remainingMs).toBe(0);
    expect(lease.toJSON().state).toBe("handed-over");
    expect(() => lease.assertHeld()).toThrow(LeaseLostError);
    expect(() => lease.assertHeld()).toThrow(/handed over/);
    expect((await lost(stage, lease.extend())).reason).toBe("handed-over");
    expect(await stage.wait(lease.release())).toBe("not-owner");
    await stage.time.advance(5_000);
    expect(first.links.map(({ calls }) => calls)).toEqual(before);
    expect(signal.aborted).toBe(false);
    expect(first.events("released")).toEqual([]);
    expect((await lost(stage, second.locker.adopt(handOver))).code).toBe("LEASE_LOST");
  });

  it("is no loss under withLock, whose release does not end it", async () => {
    const { stage, first, second, lease } = await twoProcesses();
    await stage.wait(lease.release());
    let handOver: HandOver | undefined;
    const result = await stage.wait(
      first.locker.withLock("key", async (held) => {
        handOver = await held.handOver();
        return "done";
      }),
    );
    expect(result).toBe("done");
    await stage.time.advance(100);
    const adopted = await stage.wait(second.locker.adopt(handOver as HandOver));
    adopted.assertHeld();
  });

  it("shows no owner in logs of the lease or of the locker", async () => {
    const { stage, first, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    const adopted = await stage.wait(second.locker.adopt(handOver));
    for (const logged of [lease, adopted, first.heard, second.heard]) {
      expect(inspect(logged, { depth: 9 })).not.toContain(handOver.owner);
    }
    expect(JSON.stringify([lease, adopted])).not.toContain(handOver.owner);
  });

  it("cannot be handed over twice, nor after it was released or lost", async () => {
    const { stage, first, lease } = await twoProcesses();
    await stage.wait(lease.handOver());
    expect((await lost(stage, lease.handOver())).reason).toBe("handed-over");
    const released = await stage.wait(first.locker.acquire("other"));
    await stage.wait(released.release());
    expect((await lost(stage, released.handOver())).reason).toBe("released");
    const expired = await stage.wait(first.locker.acquire("third"));
    await stage.time.advance(1_000);
    expect((await lost(stage, expired.handOver())).reason).toBe("expired");
  });

  it("is written down after the extension in flight, with the validity that this one gave", async () => {
    const { stage, first, lease } = await twoProcesses();
    await stage.time.advance(800);
    for (const link of first.links) link.setDelay({ toMs: [50, 50], backMs: [50, 50] });
    const extended = lease.extend().catch((error: unknown) => error);
    await stage.time.advance(20);
    const handing = lease.handOver();
    expect(lease.remainingMs).toBe(0);
    const { remainingMs } = await stage.wait(handing);
    expect(remainingMs).toBeGreaterThan(850);
    expect(await stage.wait(extended)).toBeInstanceOf(LeaseLostError);
  });

  it("is written down within a deadline when the extension in flight hangs", async () => {
    const { stage, first, second, lease } = await twoProcesses();
    for (const link of first.links) link.hang();
    void lease.extend().catch(() => undefined);
    await stage.time.advance(1);
    const handing = lease.handOver();
    expect(await stage.lasting(handing)).toBeLessThanOrEqual(200 + 5);
    await stage.wait(second.locker.adopt(await handing));
  });

  it("is lost instead when the extension in flight finds it taken away", async () => {
    const { stage, first, lease } = await twoProcesses();
    const { signal } = lease;
    await onAll(stage, [0, 1, 2]);
    for (const link of first.links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    void lease.extend().catch(() => undefined);
    await stage.time.advance(1);
    expect((await lost(stage, lease.handOver())).reason).toBe("forced-out");
    expect(first.events("lost")).toMatchObject([{ reason: "forced-out" }]);
    expect(first.events("handedOver")).toEqual([]);
    expect(signal.aborted).toBe(true);
  });

  it("is not released by a late answer to the first holder", async () => {
    const stage = createStage();
    const first = await startedClient(stage);
    const second = await startedClient(stage);
    first.links[2]?.kill();
    const lease = await stage.wait(first.locker.acquire("key"));
    await stage.wait(stage.time.sleep(1));
    first.links[2]?.revive();
    first.links[2]?.setDelay({ toMs: [0, 0], backMs: [300, 300] });
    await stage.wait(lease.extend());
    expect((await stage.owners("key")).filter((owner) => owner === undefined)).toEqual([]);
    const adopted = await stage.wait(
      second.locker.adopt(await stage.wait(lease.handOver()), { keepAlive: true }),
    );
    await stage.time.advance(2_000);
    expect((await stage.owners("key")).filter((owner) => owner === undefined)).toEqual([]);
    adopted.assertHeld();
  });

  it("is not disturbed by a first holder that was paused after the hand-over", async () => {
    const { stage, first, second, lease } = await twoProcesses({ keepAlive: true });
    const handOver = await stage.wait(lease.handOver());
    first.process.suspend(5_000);
    const adopted = await stage.wait(second.locker.adopt(handOver, { keepAlive: true }));
    await stage.time.advance(6_000);
    expect(() => lease.assertHeld()).toThrow(/handed over/);
    expect(await stage.wait(lease.release())).toBe("not-owner");
    await stage.wait(first.locker.close());
    await stage.time.advance(3_000);
    adopted.assertHeld();
    expect((await stage.wait(second.locker.inspect("key"))).state).toBe("held");
  });
});

describe("adopt", () => {
  it("goes by what the backends show: a hand-over that was too long on its way is lost", async () => {
    const { stage, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    await stage.time.advance(1_001);
    const error = await lost(stage, second.locker.adopt({ ...handOver, remainingMs: 60_000 }));
    expect(error.message).toMatch(/cannot be adopted.*b1 has no lock.*b2 has no lock/);
    expect(error.token).toBe(lease.token);
  });

  it("gives no validity beyond the locks that it saw, whatever the hand-over says", async () => {
    const { stage, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    await stage.time.advance(950);
    // The look ends 30 ms before the locks do, and the extension 20 ms after.
    for (const link of second.links) link.setDelay({ toMs: [5, 5], backMs: [15, 15] });
    const late = second.locker.adopt({ ...handOver, remainingMs: 60_000 });
    await stage.time.advance(15);
    for (const link of second.links) link.setDelay({ toMs: [5, 5], backMs: [45, 45] });
    expect((await lost(stage, late)).reason).toBe("expired");
  });

  it("gives no validity beyond what the first holder had", async () => {
    const { stage, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    for (const link of second.links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    expect((await lost(stage, second.locker.adopt({ ...handOver, remainingMs: 15 }))).reason).toBe("expired");
    await stage.wait(second.locker.adopt({ ...handOver, remainingMs: 25 }));
  });

  it("refuses when somebody newer came and went, though a late duplicate made the lock anew", async () => {
    const { stage, first, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    await onAll(stage, [0, 1, 2]);
    const newer = await stage.wait(first.locker.acquire("key"));
    const marks = createHighWaterMarks();
    guardInProcess(marks, newer);
    await stage.wait(newer.release());
    await duplicateAcquire(stage, handOver);
    expect(await stage.owners("key")).toEqual([handOver.owner, handOver.owner, handOver.owner]);
    const error = await lost(stage, second.locker.adopt(handOver));
    expect(error.message).toMatch(/b1 remembers a newer token; b2 remembers a newer token/);
    expect(() => guardInProcess(marks, lease)).toThrow(/stale/);
  });

  it("refuses when another owner has the lock", async () => {
    const { stage, first, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    await onAll(stage, [0, 1, 2]);
    const other = await stage.wait(first.locker.acquire("key", { ttlMs: 10_000 }));
    expect((await lost(stage, second.locker.adopt(handOver))).message).toMatch(
      /b1 has the lock of another owner/,
    );
    other.assertHeld();
    expect(await stage.wait(other.extend())).toBeGreaterThan(900);
  });

  it("needs a quorum that shows the lock: one of three may be dead, two are no quorum, two released are a loss", async () => {
    const dead = await twoProcesses();
    const handOver = await dead.stage.wait(dead.lease.handOver());
    dead.second.links[0]?.kill();
    await dead.stage.wait(dead.second.locker.adopt(handOver));
    dead.second.links[1]?.hang();
    const asked = dead.second.locker.adopt(handOver);
    expect(await dead.stage.lasting(asked)).toBeLessThanOrEqual(200 + 5);
    const error = (await dead.stage.error(asked)) as NoQuorumError;
    expect(error).toBeInstanceOf(NoQuorumError);
    expect(error.votes.map(({ vote }) => vote)).toEqual(["fault", "fault", "confirmed"]);
    expect(error.message).toMatch(/was not adopted/);

    const forced = await twoProcesses();
    const given = await forced.stage.wait(forced.lease.handOver());
    await onAll(forced.stage, [1]);
    await forced.stage.wait(forced.second.locker.adopt(given));
    await onAll(forced.stage, [0]);
    expect((await lost(forced.stage, forced.second.locker.adopt(given))).reason).toBe("forced-out");
  });

  it("does not count a backend whose memory is new or restored, though it shows the lock", async () => {
    const { stage, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    stage.memories[0]?.restart("kept");
    stage.memories[1]?.restart("kept");
    const error = (await stage.error(second.locker.adopt(handOver))) as NoQuorumError;
    expect(error).toBeInstanceOf(NoQuorumError);
    expect(error.votes.filter(({ vote }) => vote === "quarantined").map(({ backend }) => backend)).toEqual([
      "b1",
      "b2",
    ]);
  });

  it("does not put back what was taken away by force, before or after", async () => {
    const { stage, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    await onAll(stage, [2]);
    const adopted = await stage.wait(second.locker.adopt(handOver, { keepAlive: true }));
    await stage.time.advance(5_000);
    adopted.assertHeld();
    expect(await stage.owners("key")).toEqual([handOver.owner, handOver.owner, undefined]);
    await stage.wait(second.locker.forceRelease("key"));
    await stage.time.advance(400);
    expect((adopted.signal.reason as LeaseLostError).reason).toBe("forced-out");
    expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
  });

  it("does not put back either what was taken away on a backend that it could not see", async () => {
    const { stage, second, lease } = await twoProcesses();
    const third = stage.client();
    const handOver = await stage.wait(lease.handOver());
    third.links[2]?.kill();
    const adopted = await stage.wait(third.locker.adopt(handOver, { keepAlive: true }));
    await onAll(stage, [2]);
    third.links[2]?.revive();
    await stage.time.advance(5_000);
    adopted.assertHeld();
    expect(await stage.owners("key")).toEqual([handOver.owner, handOver.owner, undefined]);
    expect((await stage.wait(second.locker.inspect("key"))).state).toBe("held");
  });

  it("makes two adopters one holder to others and nothing to each other", async () => {
    const { stage, first, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    const one = await stage.wait(first.locker.adopt(handOver));
    const two = await stage.wait(second.locker.adopt(handOver));
    expect(one.token).toBe(two.token);
    one.assertHeld();
    two.assertHeld();
    const third = await startedClient(stage);
    expect((await stage.error(third.locker.acquire("key", { waitMs: 0 }))).code).toBe("LOCK_HELD");
    expect(await stage.wait(one.release())).toBe("released");
    expect((await lost(stage, two.extend())).reason).toBe("forced-out");
  });

  it("releases nothing when it is aborted or the locker closes, so that it can be adopted elsewhere", async () => {
    const { stage, first, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    const third = await startedClient(stage);
    for (const waitMs of [5, 15]) {
      for (const link of second.links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
      const controller = new AbortController();
      const adopting = second.locker
        .adopt(handOver, { signal: controller.signal })
        .catch((error: unknown) => error);
      await stage.time.advance(waitMs);
      controller.abort();
      expect(await stage.wait(adopting)).toMatchObject({ code: "ABORTED" });
    }
    for (const link of third.links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    const closing = third.locker.adopt(handOver).catch((error: unknown) => error);
    await stage.time.advance(15);
    await stage.wait(third.locker.close());
    expect(await stage.wait(closing)).toMatchObject({ code: "CLOSED" });
    expect(await stage.error(third.locker.adopt(handOver))).toMatchObject({ code: "CLOSED" });
    (await stage.wait(first.locker.adopt(handOver))).assertHeld();
    expect([...second.links, ...third.links].map(({ calls }) => calls.release)).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it("refuses the problem of a deployment that shows only at the backends", async () => {
    const { stage, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    const [first, second] = stage.memories;
    if (first === undefined || second === undefined) throw new TypeError("no backends");
    const { createLocker } = await import("../../src/index.js");
    const twin = { ...first, name: "twin", client: {} };
    const twice = createLocker({
      backends: [first, twin, second],
      ttlMs: 1_000,
      system: stage.time.process(),
    });
    expect((await stage.error(twice.adopt(handOver))).code).toBe("SAME_BACKEND");
  });

  it.each([
    ["quorum", { quorum: 3 }],
    ["maxTtlMs", { maxTtlMs: 30_000 }],
    ["clockSkewMs", { clockSkewMs: 999 }],
    ["driftPpm", { driftPpm: 4_999 }],
    ["restartGuard", { restartGuard: "strict" as const }],
    ["backends", { of: [0, 1] }],
  ])("refuses a hand-over from a locker with another %s, and asks no backend", async (name, options) => {
    const { stage, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    const { locker, links } = stage.client(options);
    const error = await stage.error(locker.adopt(handOver));
    expect(error).toBeInstanceOf(HandOverRefusedError);
    expect(error.message).toContain(name);
    expect(links.map(({ calls }) => calls.inspect + calls.status)).toEqual(links.map(() => 0));
  });

  it.each([
    ["nothing", undefined],
    ["null", null],
    ["a text", "{}"],
    ["an empty object", {}],
    ["another version", { version: 2 }],
    ["a number as key", { key: 5 }],
    ["a key that is none", { key: "" }],
    ["no owner", { owner: undefined }],
    ["an owner with a separator", { owner: "a|5" }],
    ["a number as token", { token: 5 }],
    ["a token of 0", { token: "0" }],
    ["a token that is too large", { token: "9007199254740991" }],
    ["a token with a sign", { token: "-5" }],
    ["a negative remainingMs", { remainingMs: -1 }],
    ["a remainingMs that is no number", { remainingMs: Number.NaN }],
    ["a ttlMs beyond maxTtlMs", { ttlMs: 60_001 }],
    ["no deployment", { deployment: undefined }],
  ])("refuses %s, and does not show the owner", async (_, wrong) => {
    const { stage, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    const given = typeof wrong === "object" && wrong !== null ? { ...handOver, ...wrong } : wrong;
    const broken = Object.keys(wrong ?? { x: 1 }).length === 0 ? {} : given;
    const error = await stage.error(second.locker.adopt(broken as HandOver));
    expect(error.code).toBe("HAND_OVER_REFUSED");
    expect(`${error.message} ${JSON.stringify(error)}`).not.toContain(handOver.owner);
  });

  it.each([{ ttlMs: 10 }, { ttlMs: 60_001 }, { keepAlive: "yes" }, { signal: {} }, { waitMs: 5 }])(
    "refuses the options %j",
    async (options) => {
      const { stage, second, lease } = await twoProcesses();
      const handOver = await stage.wait(lease.handOver());
      expect((await stage.error(second.locker.adopt(handOver, options as object))).code).toBe(
        "INVALID_OPTION",
      );
    },
  );

  it("extends to the TTL that is wanted, by default to that of the lease", async () => {
    const { stage, second, lease } = await twoProcesses();
    const handOver = await stage.wait(lease.handOver());
    expect((await stage.wait(second.locker.adopt(handOver))).remainingMs).toBeCloseTo(989, 0);
    expect((await stage.wait(second.locker.adopt(handOver, { ttlMs: 5_000 }))).remainingMs).toBeGreaterThan(
      4_900,
    );
  });
});
