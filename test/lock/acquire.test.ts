import { describe, expect, it } from "vitest";
import type { LockHeldError, NoQuorumError } from "../../src/index.js";
import { createStage, failOnUnhandledRejections, startedClient } from "./stage.js";

failOnUnhandledRejections();

/** Counts the listeners on a signal. */
function countingSignal(): { readonly controller: AbortController; listeners(): number } {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const added = signal.addEventListener.bind(signal);
  const removed = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof added>): void => {
    listeners++;
    added(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removed>): void => {
    listeners--;
    removed(...args);
  };
  return { controller, listeners: () => listeners };
}

describe("an attempt", () => {
  it("is decided as soon as the verdict is known: a hung backend of three adds 0 ms", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    links[0]?.hang();
    expect(await stage.lasting(locker.acquire("a"))).toBe(10);
    expect(await stage.lasting(locker.tryAcquire("b"))).toBe(10);
  });

  it("is refused as soon as it cannot win any more: a held lock is told with a hung backend too", async () => {
    const stage = createStage();
    const holder = await startedClient(stage);
    await stage.wait(holder.locker.acquire("key"));
    const { locker, links } = await startedClient(stage);
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    links[0]?.hang();
    expect(await stage.lasting(locker.tryAcquire("key"))).toBe(10);
  });

  it("takes one round trip, token included, when all backends mint the same", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    expect(await stage.lasting(locker.acquire("key"))).toBe(10);
    expect(links.map(({ calls }) => calls.raise)).toEqual([0, 0, 0]);
  });

  it("raises the backends that minted less, and then takes two round trips", async () => {
    const stage = createStage();
    const first = await startedClient(stage, { clock: { wallOffsetMs: 900 } });
    first.links[2]?.kill();
    await stage.wait((await stage.wait(first.locker.acquire("key"))).release());
    const { locker, links } = await startedClient(stage);
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    links[0]?.kill();
    expect(await stage.lasting(locker.acquire("key"))).toBe(20);
    expect(links.map(({ calls }) => calls.raise)).toEqual([0, 0, 1]);
  });
});

describe("acquire", () => {
  it("ends with NO_QUORUM within waitMs when two of three hang, and names each", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    links[0]?.hang();
    links[2]?.hang();
    const startedAt = stage.time.trueMs();
    const error = (await stage.error(locker.acquire("key", { waitMs: 1_000 }))) as NoQuorumError;
    expect(error.code).toBe("NO_QUORUM");
    expect(stage.time.trueMs() - startedAt).toBeLessThanOrEqual(1_000);
    expect(error.votes.map(({ backend, code }) => [backend, code])).toEqual([
      ["b1", "BACKEND_TIMEOUT"],
      ["b2", undefined],
      ["b3", "BACKEND_TIMEOUT"],
    ]);
    expect(error.message).toMatch(/b1 failed \(no answer within .*b2 granted.*b3 failed \(no answer within/s);
  });

  it("ends with LOCK_HELD and says for how long when somebody else holds it", async () => {
    const stage = createStage();
    const holder = await startedClient(stage);
    await stage.wait(holder.locker.acquire("key", { ttlMs: 10_000 }));
    const { locker } = await startedClient(stage);
    const error = (await stage.error(locker.acquire("key", { waitMs: 500 }))) as LockHeldError;
    expect(error.code).toBe("LOCK_HELD");
    expect(error.retryAfterMs).toBeGreaterThan(9_000);
    expect(error.attempts).toBeGreaterThan(2);
    expect(error.votes.map(({ vote }) => vote).filter((vote) => vote === "held").length).toBeGreaterThan(1);
  });

  it("gets the lock soon after it was released", async () => {
    const stage = createStage();
    const holder = await startedClient(stage);
    const lease = await stage.wait(holder.locker.acquire("key", { ttlMs: 10_000 }));
    const { locker } = await startedClient(stage);
    const next = locker.acquire("key");
    await stage.time.advance(700);
    await stage.wait(lease.release());
    expect(await stage.lasting(next)).toBeLessThanOrEqual(250);
  });

  it("gets the lock of a dead holder as soon as it ended, not a long pause later", async () => {
    const stage = createStage();
    const holder = await startedClient(stage);
    await stage.wait(holder.locker.acquire("key", { ttlMs: 1_000 }));
    holder.process.crash();
    const { locker } = stage.client({ retryDelayMsMin: 10, retryDelayMsMax: 60_000 });
    expect(await stage.lasting(locker.acquire("key"))).toBeLessThanOrEqual(1_012);
  });

  it.each([1, 2, 3, 5, 8, 13, 50, 99, 100, 101, 250, 999, 2_000, 3_456])(
    "never waits longer than waitMs = %i, whatever the backends do",
    async (waitMs) => {
      for (const trouble of [
        "hang",
        "slow",
        "held",
        "dead",
        "lossy",
        "quarantined",
        "fresh",
        "half-fresh",
      ] as const) {
        const stage = createStage({ seed: waitMs });
        const fresh = trouble === "fresh" || trouble === "half-fresh";
        const holder = fresh ? undefined : await startedClient(stage);
        const { locker, links } = fresh ? stage.client() : await startedClient(stage);
        for (const link of links) link.setDelay({ toMs: [1, 5], backMs: [1, 5] });
        if (trouble === "hang") for (const link of links.slice(1)) link.hang();
        if (trouble === "slow") for (const link of links) link.setDelay({ toMs: [0, 900], backMs: [0, 900] });
        if (trouble === "held")
          await stage.wait(holder?.locker.acquire("key", { ttlMs: 60_000 }) as Promise<unknown>);
        if (trouble === "dead") for (const link of links.slice(1)) link.kill();
        if (trouble === "lossy") for (const link of links) link.loseReplies(0.7);
        if (trouble === "quarantined") for (const backend of stage.memories.slice(1)) backend.restart("lost");
        if (trouble === "half-fresh") for (const link of links) link.loseReplies(0.4);
        const outcome = await stage.lasting(locker.acquire("key", { waitMs }));
        expect(outcome, trouble).toBeLessThanOrEqual(waitMs + 1e-6);
      }
    },
  );

  it("ends with LOCK_HELD whenever the wait ends, also in the middle of its last attempt", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const { locker: other } = await startedClient(stage);
    await stage.wait(other.acquire("key", { keepAlive: true }));
    for (const link of links) link.setDelay({ toMs: [1, 6], backMs: [1, 6] });
    const codes = new Set<string>();
    for (let waitMs = 20; waitMs < 140; waitMs++) {
      codes.add((await stage.error(locker.acquire("key", { waitMs }))).code);
    }
    expect([...codes]).toEqual(["LOCK_HELD"]);
  });

  it("is not held up by a bootstrap that is not answered: waitMs bounds first contact too", async () => {
    const stage = createStage();
    const { locker, links } = stage.client({ ttlMs: 10_000 });
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    const acquiring = locker.acquire("key", { waitMs: 100 });
    acquiring.catch(() => undefined);
    await stage.time.advance(19);
    for (const link of links) link.loseReplies(1);
    expect(19 + (await stage.lasting(acquiring))).toBeLessThanOrEqual(100);
  });

  it("tries once with waitMs: 0", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    for (const link of links) link.kill();
    const error = (await stage.error(locker.acquire("key", { waitMs: 0 }))) as NoQuorumError;
    expect(error.attempts).toBe(1);
  });

  it("uses a fresh owner and releases the minority before it tries again", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    links[1]?.kill();
    links[2]?.kill();
    const before = { ...links[0]?.calls } as { readonly acquire: number; readonly release: number };
    await stage.error(locker.acquire("key", { waitMs: 300 }));
    const { acquire, release } = { ...links[0]?.calls } as typeof before;
    expect(acquire - before.acquire).toBeGreaterThan(1);
    expect(release - before.release).toBe(acquire - before.acquire);
    expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
    links[1]?.revive();
    expect((await stage.wait(locker.tryAcquire("key"))).acquired).toBe(true);
  });

  it("releases nothing on backends that answered that they are in quarantine, and granted nothing", async () => {
    const stage = createStage();
    const { locker, links } = stage.client({ restartGuard: "strict" });
    await stage.error(locker.acquire("key", { waitMs: 300 }));
    for (const { calls } of links) expect(calls.acquire).toBeGreaterThan(1);
    // An attempt is lost by two answers of three.
    expect(links.map(({ calls }) => calls.acquire - calls.release).sort()).toEqual([
      0,
      links[0]?.calls.acquire,
      links[0]?.calls.acquire,
    ]);
  });

  it("works at the first try after the machine slept for an hour", async () => {
    const stage = createStage();
    const { locker, process } = await startedClient(stage);
    process.suspend(3_600_000);
    await stage.time.advance(3_600_001);
    expect((await stage.wait(locker.tryAcquire("a"))).acquired).toBe(true);
  });

  it("refuses a round that a suspend of the machine interrupted for longer than the validity", async () => {
    const stage = createStage();
    const { locker, process, links } = await startedClient(stage);
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    const trying = locker.tryAcquire("key");
    await stage.time.advance(7);
    process.suspend(1_000);
    expect(await stage.wait(trying)).toMatchObject({ acquired: false, reason: "no-quorum" });
    await stage.time.advance(100);
    expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
  });
});

describe("an AbortSignal", () => {
  it("that is aborted already refuses before anything is sent", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const before = links.map(({ calls }) => calls.acquire);
    const error = await stage.error(locker.acquire("key", { signal: AbortSignal.abort("no need") }));
    expect(error.code).toBe("ABORTED");
    expect(error.cause).toBe("no need");
    expect(links.map(({ calls }) => calls.acquire)).toEqual(before);
  });

  it("ends an attempt in flight at once, and what it may hold is released", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    for (const link of links) link.setDelay({ toMs: [20, 20], backMs: [20, 20] });
    const { controller, listeners } = countingSignal();
    const acquiring = locker.acquire("key", { signal: controller.signal });
    await stage.time.advance(30);
    controller.abort(new Error("enough"));
    const startedAt = stage.time.trueMs();
    expect((await stage.error(acquiring)).code).toBe("ABORTED");
    expect(stage.time.trueMs()).toBe(startedAt);
    await stage.time.advance(100);
    expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
    expect(listeners()).toBeLessThanOrEqual(0);
  });

  it("ends a pause at once", async () => {
    const stage = createStage();
    const holder = await startedClient(stage);
    await stage.wait(holder.locker.acquire("key", { ttlMs: 60_000 }));
    const { locker } = await startedClient(stage, { retryDelayMsMin: 1_000, retryDelayMsMax: 1_000 });
    const { controller } = countingSignal();
    const acquiring = locker.acquire("key", { signal: controller.signal, waitMs: 30_000 });
    await stage.time.advance(500);
    const abortedAt = stage.time.trueMs();
    controller.abort();
    expect((await stage.error(acquiring)).code).toBe("ABORTED");
    expect(stage.time.trueMs()).toBe(abortedAt);
  });

  it("ends the start of a new deployment at once", async () => {
    const stage = createStage();
    const { locker, links } = stage.client({ ttlMs: 10_000 });
    for (const link of links) link.setDelay({ toMs: [5, 5], backMs: [5, 5] });
    const controller = new AbortController();
    const acquiring = locker.acquire("key", { signal: controller.signal });
    acquiring.catch(() => undefined);
    await stage.time.advance(19);
    for (const link of links) link.hang();
    await stage.time.advance(10);
    expect(links.map(({ calls }) => calls.bootstrap)).toEqual([1, 1, 1]);
    const abortedAt = stage.time.trueMs();
    controller.abort();
    expect((await stage.error(acquiring)).code).toBe("ABORTED");
    expect(stage.time.trueMs()).toBe(abortedAt);
  });

  it("has no listener left after success, after a refusal, and after close() ended the pause", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage, { retryDelayMsMin: 100, retryDelayMsMax: 100 });
    const { controller, listeners } = countingSignal();
    const { signal } = controller;
    await stage.wait(locker.acquire("key", { signal, ttlMs: 60_000 }));
    expect(listeners()).toBe(0);
    await stage.error(locker.acquire("key", { signal, waitMs: 500 }));
    expect(listeners()).toBe(0);
    const waiting = locker.acquire("key", { signal, waitMs: 5_000 });
    waiting.catch(() => undefined);
    await stage.time.advance(50);
    await stage.wait(locker.close());
    expect((await stage.error(waiting)).code).toBe("CLOSED");
    expect(listeners()).toBe(0);
  });

  it("does not end the lease when it is aborted later", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const controller = new AbortController();
    const lease = await stage.wait(locker.acquire("key", { signal: controller.signal }));
    controller.abort();
    expect(lease.remainingMs).toBeGreaterThan(900);
  });
});

describe("tryAcquire", () => {
  it.each([
    ["held", "held"],
    ["no-quorum", "dead"],
    ["quarantined", "forgetful"],
  ] as const)("resolves to a refusal with the reason %s and the votes", async (reason, trouble) => {
    const stage = createStage();
    const holder = await startedClient(stage);
    const { locker, links } = await startedClient(stage);
    if (trouble === "held") await stage.wait(holder.locker.acquire("key"));
    if (trouble === "dead") for (const link of links) link.kill();
    if (trouble === "forgetful") for (const backend of stage.memories) backend.restart("lost");
    const refusal = await stage.wait(locker.tryAcquire("key"));
    expect(refusal).toMatchObject({ acquired: false, reason, key: "key", attempts: 1 });
    if (refusal.acquired) return;
    expect(refusal.votes).toHaveLength(3);
    expect(refusal.error.votes).toBe(refusal.votes);
  });

  it("is bounded by the deadline of one request when all backends hang", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage, { ttlMs: 1_000 });
    for (const link of links) link.hang();
    expect(await stage.lasting(locker.tryAcquire("key"))).toBe(200);
  });
});
