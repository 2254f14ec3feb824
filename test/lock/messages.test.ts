/** The cost model of docs/scaling.md: how many requests an operation sends, counted at every backend. */
import { describe, expect, it } from "vitest";
import { majority } from "../../src/engine/quorum.js";
import type { Lease } from "../../src/index.js";
import { createStage, failOnUnhandledRejections, startedClient, type Client } from "./stage.js";

failOnUnhandledRejections();

type Counts = Client["links"][number]["calls"];

/** What each backend was asked while something ran, and in the half second after it. */
async function asked(
  client: Client,
  run: () => Promise<unknown>,
  after: () => Promise<void>,
): Promise<readonly object[]> {
  const before = client.links.map(({ calls }) => ({ ...calls }));
  await run();
  await after();
  return client.links.map(({ calls }, i) => difference(calls, before[i] ?? calls));
}

/** What is not zero. */
function difference(now: Counts, before: Counts): object {
  const names = Object.keys(now) as (keyof Counts)[];
  const changes = names.map((name) => [name, now[name] - before[name]] as const);
  return Object.fromEntries(changes.filter(([, count]) => count !== 0));
}

describe.each([1, 3, 5, 7])("with %i backends", (n) => {
  it("every operation asks each of them once", async () => {
    const stage = createStage({ n });
    const client = await startedClient(stage);
    const rival = await startedClient(stage);
    for (const link of [...client.links, ...rival.links]) link.setDelay({ toMs: [1, 5], backMs: [1, 5] });
    const settled = (): Promise<void> => stage.time.advance(500);
    const all = (what: object): readonly object[] => Array.from({ length: n }, () => what);
    let lease: Lease | undefined;
    const acquired = await asked(
      client,
      async () => {
        lease = await stage.wait(client.locker.acquire("key", { ttlMs: 10_000 }));
      },
      settled,
    );
    expect(acquired).toEqual(all({ acquire: 1 }));
    const extended = await asked(client, () => stage.wait(lease?.extend() ?? Promise.reject()), settled);
    expect(extended).toEqual(all({ extend: 1 }));
    const refused = await asked(rival, () => stage.wait(rival.locker.tryAcquire("key")), settled);
    const releases = refused.filter((each) => "release" in each).length;
    expect(refused.map((each) => ({ ...each, release: 0 }))).toEqual(all({ acquire: 1, release: 0 }));
    // Certain with N − q + 1 refusals: what the others may have granted is given back unheard.
    expect(releases).toBe(majority(n) - 1);
    const released = await asked(client, () => stage.wait(lease?.release() ?? Promise.reject()), settled);
    expect(released).toEqual(all({ release: 1 }));
  });

  it("a wait and its hand-over ask each of them four times, and at most three times more", async () => {
    const stage = createStage({ n });
    const holder = await startedClient(stage);
    const waiter = await startedClient(stage);
    for (const link of [...holder.links, ...waiter.links]) link.setDelay({ toMs: [1, 2], backMs: [1, 2] });
    const settled = (): Promise<void> => stage.time.advance(500);
    // The first wait makes known that calls arrive.
    for (let i = 0; i < 2; i++) {
      const lease = await stage.wait(holder.locker.acquire("key"));
      const handOver = async (): Promise<void> => {
        const next = waiter.locker.acquire("key");
        await stage.time.advance(100);
        await stage.wait(lease.release());
        await stage.wait((await stage.wait(next)).release());
      };
      const seen = await asked(waiter, handOver, settled);
      if (i === 0) continue;
      for (const each of seen as readonly Partial<Record<string, number>>[]) {
        // Refused, refused in line, granted.
        expect(each["acquire"]).toBeGreaterThanOrEqual(2);
        expect(each["acquire"]).toBeLessThanOrEqual(3);
        expect(each["raise"]).toBe(undefined);
        expect((each["release"] ?? 0) + (each["leave"] ?? 0)).toBeGreaterThanOrEqual(1);
        expect((each["release"] ?? 0) + (each["leave"] ?? 0)).toBeLessThanOrEqual(4);
      }
    }
  });
});
