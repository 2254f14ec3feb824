import { describe, expect, it } from "vitest";
import { BackendError, InvalidOptionError, type KeyListing, type KeyReport } from "../../src/index.js";
import {
  ANY_DEPLOYMENT,
  createStage,
  failOnUnhandledRejections,
  startedClient,
  type Stage,
} from "./stage.js";

failOnUnhandledRejections();

async function all(listing: KeyListing): Promise<readonly KeyReport[]> {
  const reports: KeyReport[] = [];
  for await (const report of listing) reports.push(report);
  return reports;
}

const told = (reports: readonly KeyReport[]): readonly string[] =>
  reports.map(({ key, state }) => `${key} ${state}`).sort();
const outcomes = (listing: KeyListing): readonly string[] =>
  listing.coverage.backends.map(({ outcome }) => outcome);

/** Puts a lock of some attempt that died on one backend. */
async function remains(stage: Stage, index: number, key: string): Promise<void> {
  const session = stage.memories[index]?.open(ANY_DEPLOYMENT);
  await session?.acquire({ key, owner: "dead", ttlMs: 1_000, proposal: 1n });
}

describe("list", () => {
  it("reports every key with a live lock once, with the prefix, in its state", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    await stage.wait(locker.acquire("a:1"));
    await stage.wait(locker.acquire("a:2"));
    await stage.wait(locker.acquire("b:1"));
    await stage.wait((await stage.wait(locker.acquire("a:3"))).release());
    await remains(stage, 1, "a:4");
    const listing = locker.list({ prefix: "a:" });
    expect(listing.coverage.complete).toBe(false);
    expect(outcomes(listing)).toEqual(["unfinished", "unfinished", "unfinished"]);
    expect(told(await stage.wait(all(listing)))).toEqual(["a:1 held", "a:2 held", "a:4 orphan"]);
    expect(listing.coverage).toMatchObject({ keys: 3, cutOff: false, complete: true });
    expect(outcomes(listing)).toEqual(["listed", "listed", "listed"]);
    expect(told(await stage.wait(all(locker.list())))).toHaveLength(4);
  });

  it("finds more keys than fit on a page, and stops at the limit and says so", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const keys = Array.from({ length: 1_203 }, (_, i) => `k${i}`);
    await stage.wait(Promise.all(keys.map((key) => locker.acquire(key, { ttlMs: 60_000 }))));
    const whole = locker.list();
    expect(new Set((await stage.wait(all(whole))).map(({ key }) => key))).toEqual(new Set(keys));
    expect(whole.coverage).toMatchObject({ keys: 1_203, cutOff: false, complete: true });
    const exact = locker.list({ limit: 1_203 });
    expect(await stage.wait(all(exact))).toHaveLength(1_203);
    expect(exact.coverage).toMatchObject({ cutOff: false, complete: true });
    const cut = locker.list({ limit: 700 });
    expect(await stage.wait(all(cut))).toHaveLength(700);
    expect(cut.coverage).toMatchObject({ keys: 700, cutOff: true, complete: false });
  });

  it("is complete with one of three silent, and not with two; each costs one deadline, not one for every key", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    for (let i = 0; i < 200; i++) await stage.wait(locker.acquire(`k${i}`, { ttlMs: 60_000 }));
    links[0]?.hang();
    const one = locker.list();
    const asked = all(one);
    expect(await stage.lasting(asked)).toBeLessThan(200 + 20);
    expect((await asked).map(({ state }) => state)).toEqual(new Array<string>(200).fill("held"));
    expect(outcomes(one)).toEqual(["failed", "listed", "listed"]);
    expect(one.coverage.complete).toBe(true);
    expect(one.coverage.backends[0]).toMatchObject({ error: { code: "BACKEND_TIMEOUT" } });
    links[1]?.kill();
    const two = locker.list();
    const reports = await stage.wait(all(two));
    expect(reports.map(({ state }) => state)).toEqual(new Array<string>(200).fill("unknown"));
    expect(outcomes(two)).toEqual(["failed", "failed", "listed"]);
    expect(two.coverage.complete).toBe(false);
  });

  it("asks a backend no more that falls silent in between", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    for (let i = 0; i < 300; i++) await stage.wait(locker.acquire(`k${i}`, { ttlMs: 60_000 }));
    const listing = locker.list();
    const first = await stage.wait(listing[Symbol.asyncIterator]().next());
    expect(first.done).toBe(false);
    links[0]?.hang();
    const rest = all(listing);
    expect(await stage.lasting(rest)).toBeLessThan(200 + 20);
    expect(await rest).toHaveLength(299);
    expect(outcomes(listing)).toEqual(["failed", "listed", "listed"]);
    expect(listing.coverage.complete).toBe(true);
  });

  it("does not count the list of a backend that cannot list, nor of one that may have forgotten", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    await stage.wait(locker.acquire("key"));
    links[0]?.refuse(new BackendError("BACKEND_UNSUPPORTED", { backend: "b1", what: "it cannot list" }));
    stage.memories[1]?.restart("lost");
    const listing = locker.list();
    await stage.wait(all(listing));
    expect(outcomes(listing)).toEqual(["failed", "quarantined", "listed"]);
    expect(listing.coverage.complete).toBe(false);
  });

  it("does not count the list of a backend that forgot while it was listed", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    await stage.wait(locker.acquire("one", { ttlMs: 60_000 }));
    await stage.wait(locker.acquire("two", { ttlMs: 60_000 }));
    const listing = locker.list();
    const keys = listing[Symbol.asyncIterator]();
    await stage.wait(keys.next());
    stage.memories[0]?.restart("kept");
    stage.memories[1]?.restart("kept");
    expect((await stage.wait(keys.next())).done).toBe(false);
    expect((await stage.wait(keys.next())).done).toBe(true);
    expect(outcomes(listing)).toEqual(["quarantined", "quarantined", "listed"]);
    expect(listing.coverage.complete).toBe(false);
  });

  it("ends where a backend's list does not", async () => {
    const stage = createStage();
    const client = await startedClient(stage);
    await stage.wait(client.locker.acquire("key"));
    const [first] = stage.memories;
    const open = first?.open.bind(first);
    if (first === undefined || open === undefined) throw new TypeError("no backend");
    Object.assign(first, {
      open: (deployment: Parameters<typeof open>[0]) => ({
        ...open(deployment),
        list: async () => Promise.resolve({ keys: ["key"], next: "7" }),
      }),
    });
    const { locker } = stage.client();
    const listing = locker.list();
    expect(told(await stage.wait(all(listing)))).toEqual(["key held"]);
    expect(outcomes(listing)).toEqual(["failed", "listed", "listed"]);
    expect(listing.coverage.backends[0]).toMatchObject({ error: { message: /does not end/ } });
  });

  it.each([
    { limit: 0 },
    { limit: 1.5 },
    { limit: 1_000_001 },
    { limit: Number.NaN },
    { limit: "5" as unknown as number },
    { prefix: 5 as unknown as string },
    { prefix: "\ud800" },
    { prefix: "x".repeat(513) },
    { prefx: "a" } as object,
  ])("refuses the options %j", async (options) => {
    const stage = createStage();
    const { locker } = stage.client();
    expect(() => locker.list(options)).toThrow(InvalidOptionError);
  });
});
