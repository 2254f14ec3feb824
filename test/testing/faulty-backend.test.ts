import { describe, expect, it } from "vitest";
import { memory } from "../../src/adapters/memory.js";
import type { BackendSession } from "../../src/backend.js";
import { BackendError } from "../../src/errors.js";
import { faulty, type FaultyBackend } from "../../src/testing/faulty-backend.js";
import { createVirtualTime, type VirtualTime } from "../../src/testing/virtual-time.js";
import { describeConformance } from "../conformance/run-conformance.js";
import { DEPLOYMENT, virtualSetup } from "../conformance/virtual-context.js";

interface Scene {
  readonly time: VirtualTime;
  readonly backend: FaultyBackend;
  readonly session: BackendSession;
  /** The same store over a sound link. */
  readonly direct: BackendSession;
}

function scene(): Scene {
  const time = createVirtualTime({ seed: 3 });
  const store = memory({ clock: time.backendClock() });
  const backend = faulty(store, { sleep: (ms) => time.sleep(ms), random: () => time.random() });
  const deployment = { ...DEPLOYMENT, restartGuard: "off" } as const;
  return { time, backend, session: backend.open(deployment), direct: store.open(deployment) };
}

const acquire = (session: BackendSession, owner: string, key = "k") =>
  session.acquire({ key, owner, ttlMs: 10_000, proposal: 1n });

/** What becomes of a promise: its value, the code of its error, or "pending". */
function watch(promise: Promise<unknown>): () => unknown {
  let outcome: unknown = "pending";
  promise.then(
    (value) => (outcome = value),
    (error: { code?: string; message: string }) => (outcome = error.code ?? error.message),
  );
  return () => outcome;
}

async function owners(direct: BackendSession, keys: readonly string[]): Promise<readonly unknown[]> {
  return Promise.all(keys.map(async (key) => (await direct.inspect(key)).lock?.owner));
}

describeConformance("a backend that could be faulty, but is not", () =>
  virtualSetup((clock, newIncarnation) => {
    const store = memory({ clock, newIncarnation });
    return { ...faulty(store), restart: store.restart };
  }),
);

describe("a faulty backend", () => {
  it("counts the calls of each operation", async () => {
    const { backend, session } = scene();
    await acquire(session, "a");
    await acquire(session, "b");
    await session.release("k", "a");
    backend.kill();
    await session.release("k", "a").catch(() => undefined);
    expect(backend.calls).toEqual({
      acquire: 2,
      raise: 0,
      extend: 0,
      release: 2,
      forceRelease: 0,
      inspect: 0,
      status: 0,
      bootstrap: 0,
      join: 0,
      list: 0,
      lift: 0,
      quarantine: 0,
      examine: 0,
    });
  });

  it("delays requests and replies as it was told", async () => {
    const { time, backend, session, direct } = scene();
    backend.setDelay({ toMs: [20, 20], backMs: [5, 5] });
    const reply = watch(acquire(session, "a"));
    await time.advance(19);
    expect(await owners(direct, ["k"])).toEqual([undefined]);
    await time.advance(1);
    expect([await owners(direct, ["k"]), reply()]).toEqual([["a"], "pending"]);
    await time.advance(5);
    expect(reply()).toMatchObject({ kind: "granted" });
  });

  it("draws delays from the whole range, so that requests overtake one another", async () => {
    const { time, backend, session } = scene();
    backend.setDelay({ toMs: [1, 100], backMs: [0, 0] });
    const order: number[] = [];
    const sent = Array.from({ length: 50 }, (_, i) => i);
    for (const i of sent) void acquire(session, "a", `key-${i}`).then(() => order.push(i));
    await time.advance(100);
    expect(order).toHaveLength(50);
    expect(order).not.toEqual(sent);
  });

  it("fails everything at once while it is dead, and forgets what was on its way", async () => {
    const { time, backend, session, direct } = scene();
    backend.setDelay({ toMs: [10, 10], backMs: [10, 10] });
    const arrived = watch(acquire(session, "a", "k1"));
    await time.advance(5);
    const onItsWay = watch(acquire(session, "a", "k2"));
    await time.advance(7);
    backend.kill();
    await time.advance(0);
    expect([arrived(), onItsWay()]).toEqual(["BACKEND_DISCONNECTED", "BACKEND_DISCONNECTED"]);
    const refused = watch(acquire(session, "a", "k3"));
    await time.advance(0);
    expect(refused()).toBe("BACKEND_NOT_CONNECTED");
    backend.revive();
    await time.advance(1_000);
    expect(await owners(direct, ["k1", "k2", "k3"])).toEqual(["a", undefined, undefined]);
    expect(await time.until(acquire(session, "b", "k3"), { limitMs: 100 })).toMatchObject({
      kind: "granted",
    });
  });

  it("keeps the requests of a hang and executes them afterwards in order: ghosts", async () => {
    const { time, backend, session, direct } = scene();
    backend.hang();
    const replies = ["a", "b", "c"].map((owner) => watch(acquire(session, owner)));
    await time.advance(60_000);
    expect(replies.map((reply) => reply())).toEqual(["pending", "pending", "pending"]);
    expect(await owners(direct, ["k"])).toEqual([undefined]);
    backend.resume();
    const late = watch(acquire(session, "d"));
    await time.advance(0);
    expect(replies.map((reply) => (reply() as { kind: string }).kind)).toEqual(["granted", "held", "held"]);
    expect(late()).toMatchObject({ kind: "held" });
    expect(await owners(direct, ["k"])).toEqual(["a"]);
  });

  it("keeps what waits when it is hung a second time", async () => {
    const { time, backend, session, direct } = scene();
    backend.hang();
    void acquire(session, "a");
    await time.advance(0);
    backend.hang();
    backend.resume();
    await time.advance(0);
    expect(await owners(direct, ["k"])).toEqual(["a"]);
  });

  it("forgets the requests of a hang when it is killed", async () => {
    const { time, backend, session, direct } = scene();
    backend.hang();
    const reply = watch(acquire(session, "a"));
    backend.kill();
    backend.revive();
    backend.resume();
    await time.advance(1_000);
    expect([reply(), ...(await owners(direct, ["k"]))]).toEqual(["BACKEND_DISCONNECTED", undefined]);
  });

  it("runs again when it was killed during a hang and revived", async () => {
    const { time, backend, session } = scene();
    backend.hang();
    backend.kill();
    backend.revive();
    expect(await time.until(acquire(session, "a"), { limitMs: 10 })).toMatchObject({ kind: "granted" });
  });

  it("loses requests: nothing is executed, and the caller never hears of it", async () => {
    const { time, backend, session, direct } = scene();
    backend.loseRequests(1);
    const reply = watch(acquire(session, "a"));
    await time.advance(100_000);
    expect([reply(), ...(await owners(direct, ["k"]))]).toEqual(["pending", undefined]);
  });

  it("loses replies: it is executed, and the caller never hears of it", async () => {
    const { time, backend, session, direct } = scene();
    backend.loseReplies(1);
    const reply = watch(acquire(session, "a"));
    await time.advance(1);
    expect([reply(), ...(await owners(direct, ["k"]))]).toEqual(["pending", "a"]);
  });

  it("loses about as many as the probability says", async () => {
    const { time, backend, session } = scene();
    backend.loseReplies(0.3);
    const replies = Array.from({ length: 1_000 }, (_, i) => watch(acquire(session, "a", `key-${i}`)));
    await time.advance(1);
    const lost = replies.filter((reply) => reply() === "pending").length;
    expect(lost).toBeGreaterThan(240);
    expect(lost).toBeLessThan(360);
  });

  it("executes a duplicate once more, later, whatever happened in between", async () => {
    const { time, backend, session, direct } = scene();
    backend.duplicate(1, 500);
    await time.until(acquire(session, "a"), { limitMs: 1 });
    backend.duplicate(0, 0);
    await time.until(session.release("k", "a"), { limitMs: 1 });
    await time.advance(499);
    expect(await owners(direct, ["k"])).toEqual([undefined]);
    await time.advance(2);
    expect(await owners(direct, ["k"])).toEqual(["a"]);
  });

  it("answers with an error and executes nothing while it refuses", async () => {
    const { time, backend, session, direct } = scene();
    backend.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    backend.refuse(new BackendError("BACKEND_LOADING", { backend: "m", what: "loading" }));
    const reply = watch(acquire(session, "a"));
    await time.advance(9);
    expect(reply()).toBe("pending");
    await time.advance(1);
    expect([reply(), ...(await owners(direct, ["k"]))]).toEqual(["BACKEND_LOADING", undefined]);
    backend.refuse(undefined);
    expect(await time.until(acquire(session, "a"), { limitMs: 10 })).toMatchObject({ kind: "granted" });
  });

  it("settles what is pending when a session is closed, and only in that session", async () => {
    const { time, backend, session, direct } = scene();
    const other = backend.open({ ...DEPLOYMENT, restartGuard: "off" });
    backend.loseReplies(1);
    const [ours, theirs] = [watch(acquire(session, "a", "k1")), watch(acquire(other, "a", "k2"))];
    await time.advance(1);
    await session.close();
    await time.advance(1);
    expect([ours(), theirs()]).toEqual(["BACKEND_DISCONNECTED", "pending"]);
    await expect(acquire(session, "a")).rejects.toMatchObject({ code: "BACKEND_NOT_CONNECTED" });
    expect(await owners(direct, ["k1", "k2"])).toEqual(["a", "a"]);
  });

  it("is one link of several: cutting it leaves the others", async () => {
    const time = createVirtualTime({ seed: 1 });
    const store = memory({ clock: time.backendClock() });
    const [left, right] = [faulty(store), faulty(store)];
    const deployment = { ...DEPLOYMENT, restartGuard: "off" } as const;
    left.kill();
    await expect(acquire(left.open(deployment), "a")).rejects.toThrow("connection refused");
    await expect(acquire(right.open(deployment), "a")).resolves.toMatchObject({ kind: "granted" });
  });

  it("tells a suspended process nothing before it is awake", async () => {
    const time = createVirtualTime({ seed: 1 });
    const process = time.process();
    const store = memory({ clock: time.backendClock() });
    const backend = faulty(store, { sleep: (ms) => time.sleep(ms), receive: () => process.awake() });
    backend.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    const session = backend.open({ ...DEPLOYMENT, restartGuard: "off" });
    const reply = watch(acquire(session, "a"));
    process.suspend(1_000);
    await time.advance(999);
    expect(reply()).toBe("pending");
    await time.advance(1);
    expect(reply()).toMatchObject({ kind: "granted" });
  });

  it("works with the real clock and real randomness by default", async () => {
    const backend = faulty(memory());
    backend.setDelay({ toMs: [0, 1], backMs: [0, 1] });
    const session = backend.open({ ...DEPLOYMENT, restartGuard: "off" });
    expect(await acquire(session, "a")).toMatchObject({ kind: "granted" });
  });

  it("refuses what is no probability", () => {
    const { backend } = scene();
    expect(() => backend.loseRequests(1.1)).toThrow("a probability from 0 to 1");
    expect(() => backend.loseReplies(-0.1)).toThrow("a probability from 0 to 1");
    expect(() => backend.duplicate(Number.NaN, 1)).toThrow("a probability from 0 to 1");
  });
});
