import { describe, expect, it } from "vitest";
import { ownerHash } from "../../src/lock/events.js";
import { BackendError, ClosedError, createLocker, type KeyReport } from "../../src/index.js";
import { faulty } from "../../src/testing/index.js";
import {
  ANY_DEPLOYMENT,
  createStage,
  failOnUnhandledRejections,
  startedClient,
  type Stage,
} from "./stage.js";

failOnUnhandledRejections();

/** Puts a lock of some attempt that died on one backend. */
async function remains(stage: Stage, index: number, owner: string, ttlMs = 1_000): Promise<void> {
  const session = stage.memories[index]?.open(ANY_DEPLOYMENT);
  await session?.acquire({ key: "key", owner, ttlMs, proposal: 1n });
}

const kinds = (report: KeyReport): readonly string[] =>
  report.views.map((view) => (view.kind === "locked" ? view.role : view.kind));

describe("inspect", () => {
  it("shows a held lock with its holder, token and time left, on every backend", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    await stage.time.advance(200);
    const report = await stage.wait(locker.inspect("key"));
    expect(report).toMatchObject({
      key: "key",
      state: "held",
      token: lease.token,
      counter: lease.token,
      ownerHash: lease.toJSON().ownerHash,
      quorum: 2,
    });
    expect(report.remainingMs).toBeCloseTo(800, 0);
    expect(report.views).toHaveLength(3);
    expect(report.views[0]).toEqual({
      backend: "b1",
      kind: "locked",
      role: "holder",
      ownerHash: lease.toJSON().ownerHash,
      fence: lease.token,
      counter: lease.token,
      remainingMs: report.remainingMs,
      quarantinedMs: undefined,
    });
    const [owner] = await stage.owners("key");
    expect(
      JSON.stringify(report, (_, value: unknown) => (typeof value === "bigint" ? `${value}` : value)),
    ).not.toContain(owner);
  });

  it("shows a free key with the counter that outlives its lock", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    await stage.wait(lease.release());
    const report = await stage.wait(locker.inspect("key"));
    expect(report).toMatchObject({
      state: "free",
      counter: lease.token,
      token: undefined,
      ownerHash: undefined,
    });
    expect(report.remainingMs).toBeUndefined();
    expect(kinds(report)).toEqual(["free", "free", "free"]);
  });

  it("says orphan, rival and ghost by what each owner can still have", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    await remains(stage, 2, "dead");
    const orphan = await stage.wait(locker.inspect("key"));
    expect(orphan).toMatchObject({ state: "orphan", ownerHash: ownerHash("dead") });
    expect(kinds(orphan)).toEqual(["free", "free", "orphan"]);
    await stage.wait(locker.acquire("key"));
    const held = await stage.wait(locker.inspect("key"));
    expect(held.state).toBe("held");
    expect(kinds(held)).toEqual(["holder", "holder", "ghost"]);
    await stage.time.advance(1_100);
    await remains(stage, 0, "one");
    await remains(stage, 1, "two");
    const contended = await stage.wait(locker.inspect("key"));
    expect(contended).toMatchObject({ state: "contended", ownerHash: undefined });
    expect(kinds(contended)).toEqual(["rival", "rival", "free"]);
  });

  it("says unknown when the backends that hang could make a quorum, and resolves within the deadline", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    await stage.wait(locker.acquire("key"));
    links[0]?.hang();
    expect((await stage.wait(locker.inspect("key"))).state).toBe("held");
    links[1]?.hang();
    const asked = locker.inspect("key");
    expect(await stage.lasting(asked)).toBeLessThanOrEqual(200 + 2);
    const report = await asked;
    expect(report.state).toBe("unknown");
    expect(kinds(report)).toEqual(["fault", "fault", "possible-holder"]);
    expect(report.views[0]).toMatchObject({ error: { code: "BACKEND_TIMEOUT" } });
  });

  it("says unknown when a backend without its memory may have forgotten the lock", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { ttlMs: 10_000 }));
    stage.memories[0]?.restart("lost");
    stage.memories[1]?.restart("lost");
    const report = await stage.wait(locker.inspect("key"));
    expect(report.state).toBe("unknown");
    expect(lease.remainingMs).toBeGreaterThan(0);
    expect(report.views[0]).toMatchObject({ kind: "free" });
    expect(report.views[0]?.kind === "free" && report.views[0].quarantinedMs).toBeGreaterThan(60_000);
  });

  it("counts a server that is there twice once, and one of another configuration not at all", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    await stage.wait(locker.acquire("key"));
    const other = stage.client({ of: [0, 1], quorum: 2 });
    const report = await stage.wait(other.locker.inspect("key"));
    expect(kinds(report)).toEqual(["fault", "fault"]);
    expect(report.state).toBe("unknown");
    expect(report.views[0]).toMatchObject({ error: { code: "BACKEND_MARK_MISMATCH" } });
    const [first] = stage.memories;
    if (first === undefined)
      throw new BackendError("BACKEND_REFUSED", { backend: "none", what: "no backend" });
    const twin = { ...first, name: "twin", client: {} };
    for (const lateMs of [0, 5]) {
      // Whichever of the two answers first.
      const late = faulty(first, { sleep: stage.time.sleep, random: stage.time.random });
      late.setDelay({ toMs: [lateMs, lateMs], backMs: [0, 0] });
      const twice = createLocker({
        backends: [late, twin, stage.memories[1] ?? first],
        ttlMs: 1_000,
        system: stage.time.process(),
      });
      const seen = await stage.wait(twice.inspect("key"));
      expect(kinds(seen)).toEqual(["holder", "fault", "holder"]);
      expect(seen.views[1]).toMatchObject({ error: { code: "BACKEND_SAME_SERVER" } });
    }
  });

  it("is refused once the locker is closed, also when it waits for an answer", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    for (const link of links) link.hang();
    const asked = locker.inspect("key").catch((error: unknown) => error);
    await stage.time.advance(10);
    const closing = locker.close();
    expect(await stage.wait(asked)).toBeInstanceOf(ClosedError);
    await stage.wait(closing);
    expect(await stage.error(locker.inspect("key"))).toBeInstanceOf(ClosedError);
    expect(await stage.error(locker.examine())).toBeInstanceOf(ClosedError);
    expect(await stage.error(locker.forceRelease("key"))).toBeInstanceOf(ClosedError);
    expect(await stage.error(locker.lift("key", 5n))).toBeInstanceOf(ClosedError);
    expect(await stage.error(locker.quarantine("b1"))).toBeInstanceOf(ClosedError);
    expect(await stage.error(locker.list()[Symbol.asyncIterator]().next())).toBeInstanceOf(ClosedError);
    expect(await stage.atRest()).toBe(true);
  });
});
