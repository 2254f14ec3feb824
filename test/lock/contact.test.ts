import { describe, expect, it } from "vitest";
import { createLocker, type Backend } from "../../src/index.js";
import { faulty } from "../../src/testing/index.js";
import { createStage, failOnUnhandledRejections, startedClient } from "./stage.js";

failOnUnhandledRejections();

describe("two backends that are one server", () => {
  it("are refused with SAME_BACKEND, naming both, and nothing stays locked", async () => {
    const stage = createStage({ n: 2 });
    const [one, two] = stage.memories;
    if (one === undefined || two === undefined) return;
    const process = stage.time.process();
    const wrap = (backend: typeof one, name: string, delayMs: number) => {
      const link = faulty(backend, { sleep: stage.time.sleep });
      link.setDelay({ toMs: [delayMs, delayMs], backMs: [0, 0] });
      return { ...link, name, client: {} };
    };
    const locker = createLocker({
      backends: [wrap(one, "10.0.0.1", 1), wrap(two, "10.0.0.2", 5), wrap(one, "redis.local", 1)],
      system: process,
      ttlMs: 1_000,
      waitMs: 500,
      restartGuard: "off",
    });
    const error = await stage.error(locker.acquire("key"));
    expect(error.code).toBe("SAME_BACKEND");
    expect(error.message).toContain("10.0.0.1 and redis.local are one and the same server");
    expect((await stage.error(locker.tryAcquire("key"))).code).toBe("SAME_BACKEND");
    await stage.time.advance(100);
    expect(await stage.owners("key")).toEqual([undefined, undefined]);
  });

  it("are refused from the second acquire on when an independent majority answered the first one sooner", async () => {
    const stage = createStage({ n: 2 });
    const [one, two] = stage.memories;
    if (one === undefined || two === undefined) return;
    const locker = createLocker({
      backends: [one, two, { ...one, name: "alias", client: {} }],
      system: stage.time.process(),
      ttlMs: 1_000,
      restartGuard: "off",
    });
    await stage.wait(locker.acquire("key"));
    expect((await stage.error(locker.tryAcquire("other"))).code).toBe("SAME_BACKEND");
  });

  it("count once: they alone are no quorum of three", async () => {
    const stage = createStage({ n: 2 });
    const [one, two] = stage.memories;
    if (one === undefined || two === undefined) return;
    const links = [one, one, two].map((backend, i) => {
      const link = faulty(backend, { sleep: stage.time.sleep });
      return { link, backend: { ...link, name: `n${i}`, client: {} } };
    });
    const other = createLocker({
      backends: links.map(({ backend }) => backend),
      system: stage.time.process(),
      ttlMs: 1_000,
      restartGuard: "off",
    });
    links[2]?.link.kill();
    expect((await stage.error(other.tryAcquire("key"))).code).toBe("SAME_BACKEND");
  });
});

describe("clients that are configured otherwise", () => {
  it.each([
    ["another number of backends", { of: [0, 1, 2, 3, 4] }, "5 backends, quorum 3"],
    ["another quorum", { quorum: 3 }, "quorum 3"],
    ["another maxTtlMs", { maxTtlMs: 30_000 }, "maxTtlMs 30000"],
  ])("are refused with CONFIG_MISMATCH: %s", async (_what, options, named) => {
    const stage = createStage({ n: 5 });
    await startedClient(stage, { of: [0, 1, 2] });
    const { locker } = stage.client({ of: [0, 1, 2], ...options });
    const error = await stage.error(locker.acquire("key"));
    expect(error.code).toBe("CONFIG_MISMATCH");
    expect(error.message).toContain(named);
    expect(error.message).toContain("3 backends, quorum 2, maxTtlMs 60000");
    expect((error.cause as { code: string }).code).toBe("BACKEND_MARK_MISMATCH");
  });

  it("are told of by bootstrap() too", async () => {
    const stage = createStage();
    await stage.wait(stage.client({ maxTtlMs: 2_000, clockSkewMs: 0 }).locker.tryAcquire("key"));
    const { locker } = stage.client({ maxTtlMs: 3_000, clockSkewMs: 0 });
    expect((await stage.error(locker.bootstrap())).code).toBe("CONFIG_MISMATCH");
  });

  it("are refused while it lasts, with a fresh error each time, and served once all agree again", async () => {
    const stage = createStage();
    const other = stage.client({ quorum: 3, of: [0, 1, 2], maxTtlMs: 2_000, clockSkewMs: 0 });
    other.links[1]?.kill();
    other.links[2]?.kill();
    await stage.wait(other.locker.tryAcquire("key"));
    const { locker } = stage.client({ maxTtlMs: 2_000, clockSkewMs: 0 });
    const errors = [];
    for (let i = 0; i < 3; i++) errors.push(await stage.error(locker.acquire("key")));
    expect(errors.map(({ code }) => code)).toEqual(["CONFIG_MISMATCH", "CONFIG_MISMATCH", "CONFIG_MISMATCH"]);
    expect(new Set(errors).size).toBe(3);
    stage.memories[0]?.restart("lost");
    expect((await stage.wait(locker.acquire("key", { waitMs: 5_000 }))).acquired).toBe(true);
  });
});

describe("a backend whose address comes to lead to another one's server", () => {
  it("does not count beside it in an extension, in whatever order they answer", async () => {
    const stage = createStage();
    const { locker: other } = await startedClient(stage);
    let moved = false;
    const process = stage.time.process();
    const [first, second, third] = stage.memories;
    if (first === undefined || second === undefined || third === undefined) throw new Error("three backends");
    const moving: Backend = {
      ...first,
      client: {},
      open(deployment) {
        const [own, others] = [first.open(deployment), second.open(deployment)];
        const now = (): typeof own => (moved ? others : own);
        return {
          ...own,
          acquire: (request) => now().acquire(request),
          release: (key, owner) => now().release(key, owner),
          async extend(request) {
            await stage.time.sleep(1);
            return now().extend(request);
          },
        };
      },
    };
    const hung = faulty(third, { sleep: stage.time.sleep });
    const locker = createLocker({
      backends: [moving, { ...second, client: {} }, hung],
      system: process,
      ttlMs: 1_000,
    });
    const lease = await stage.wait(locker.acquire("key"));
    moved = true;
    hung.hang();
    expect((await stage.error(lease.extend())).code).toBe("NO_QUORUM");
    expect((await stage.wait(other.tryAcquire("key"))).acquired).toBe(false);
  });
});

describe("a silent backend", () => {
  it("has a bounded number of requests in flight, and is used again once it answers", async () => {
    const stage = createStage();
    const { locker, links, events } = await startedClient(stage);
    links[0]?.hang();
    const before = links[0]?.calls;
    for (let i = 0; i < 300; i++) {
      await stage.wait((await stage.wait(locker.acquire(`key-${i}`))).release());
      await stage.time.advance(10);
    }
    const sent =
      (links[0]?.calls.acquire ?? 0) +
      (links[0]?.calls.release ?? 0) -
      (before?.acquire ?? 0) -
      (before?.release ?? 0);
    expect(sent).toBeLessThan(100);
    expect(
      events("acquired")
        .at(-1)
        ?.votes.map(({ code }) => code),
    ).toContain("BACKEND_SILENT");
    links[0]?.resume();
    await stage.time.advance(2_000);
    await stage.wait(locker.acquire("last"));
    expect(events("acquired").at(-1)?.votes[0]).toMatchObject({ vote: "granted" });
    const owners = await Promise.all(Array.from({ length: 300 }, (_, i) => stage.owners(`key-${i}`)));
    expect(owners.flat().filter((owner) => owner !== undefined)).toEqual([]);
  });

  it("is asked once in a while, and used again though it never settles what was lost", async () => {
    const stage = createStage();
    const { locker, links, events } = await startedClient(stage);
    links[0]?.loseReplies(1);
    for (let i = 0; i < 60; i++) {
      await stage.wait((await stage.wait(locker.acquire(`key-${i}`))).release());
      await stage.time.advance(100);
    }
    expect(events("acquired").at(-1)?.votes[0]).toMatchObject({ code: "BACKEND_SILENT" });
    links[0]?.loseReplies(0);
    for (let i = 0; i < 10; i++) {
      await stage.wait((await stage.wait(locker.acquire(`again-${i}`))).release());
      await stage.time.advance(500);
    }
    expect(events("acquired").at(-1)?.votes[0]).toMatchObject({ vote: "granted" });
  });
});

describe("an answer outside the contract", () => {
  it("is a fault of its backend, and ends neither the attempt nor the process", async () => {
    const stage = createStage();
    const { links } = await startedClient(stage);
    const [good, alsoGood, bad] = links;
    if (good === undefined || alsoGood === undefined || bad === undefined) throw new Error("three links");
    const malformed: Backend = {
      ...bad,
      open: (deployment) => ({ ...bad.open(deployment), acquire: async () => ({}) as never }),
    };
    const locker = createLocker({ backends: [malformed, good, alsoGood], system: stage.time.process() });
    const heard: string[] = [];
    locker.on("acquired", ({ votes }) => heard.push(...votes.map(({ vote }) => vote)));
    const lease = await stage.wait(locker.acquire("key"));
    expect(lease.acquired).toBe(true);
    expect(heard[0]).toBe("fault");
  });
});
