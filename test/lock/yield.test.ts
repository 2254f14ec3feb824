/** Attempts that yield to others do so for backends that have fallen silent, and not for those that are far away or have answered unread. */
import { describe, expect, it } from "vitest";
import { ANY_DEPLOYMENT, createStage, startedClient, type Client, type Stage } from "./stage.js";

const delay = (roundTripMs: number): { toMs: [number, number]; backMs: [number, number] } => ({
  toMs: [roundTripMs / 2, roundTripMs / 2],
  backMs: [roundTripMs / 2, roundTripMs / 2],
});

/** Somebody else has a vote on the first backend, and on no other one. */
async function heldOnFirst(stage: Stage, key: string): Promise<void> {
  const session = stage.memories[0]?.open(ANY_DEPLOYMENT);
  const reply = await session?.acquire({ key, owner: "another", ttlMs: 60_000, proposal: 1n });
  expect(reply?.kind).toBe("granted");
}

function setRoundTrips(client: Client, roundTripsMs: readonly number[]): void {
  client.links.forEach((link, i) => {
    link.setDelay(delay(roundTripsMs[i] ?? 0));
  });
}

async function tries(stage: Stage, client: Client, key: string): Promise<boolean> {
  return (await stage.wait(client.locker.tryAcquire(key, { ttlMs: 10_000 }))).acquired;
}

describe("an attempt that two of three backends would grant, and the first one refuses", () => {
  it.each([
    ["near, the others far", [20, 300, 300]],
    ["as far as the others", [150, 160, 170]],
  ] as const)(
    "is won at the first use of a process, when nobody knows yet how long answers take: it is %s",
    async (_where, roundTripsMs) => {
      const stage = createStage();
      await startedClient(stage);
      await heldOnFirst(stage, "k");
      const client = stage.client({ ttlMs: 10_000 });
      setRoundTrips(client, roundTripsMs);
      expect(await tries(stage, client, "k")).toBe(true);
    },
  );

  it("is won after a time in which many requests were under way at once", async () => {
    const stage = createStage();
    await startedClient(stage);
    await heldOnFirst(stage, "k");
    const client = stage.client({ ttlMs: 10_000 });
    setRoundTrips(client, [20, 200, 200]);
    const busy: Promise<unknown>[] = [];
    for (let i = 0; i < 200; i++) {
      busy.push(client.locker.acquire(`busy ${i}`));
      await stage.time.advance(10);
    }
    await stage.wait(Promise.all(busy));
    await stage.time.advance(1_000);
    expect(await tries(stage, client, "k")).toBe(true);
  });

  it("is won after a stall in which all answered", async () => {
    const stage = createStage();
    const client = await startedClient(stage);
    setRoundTrips(client, [4, 5, 6]);
    await heldOnFirst(stage, "k");
    const attempt = client.locker.tryAcquire("k", { ttlMs: 10_000 });
    await stage.time.advance(1);
    client.process.stall(300);
    expect((await stage.wait(attempt)).acquired).toBe(true);
  });

  it.each([
    ["has been silent", false],
    ["has never answered", true],
  ] as const)("is given up long before its deadline where one of those two %s", async (_what, isNew) => {
    const stage = createStage();
    const started = await startedClient(stage);
    await heldOnFirst(stage, "k");
    const client = isNew ? stage.client({ ttlMs: 10_000 }) : started;
    setRoundTrips(client, [4, 5, 6]);
    client.links[2]?.hang();
    const attempt = client.locker.tryAcquire("k", { ttlMs: 10_000 });
    expect(await stage.lasting(attempt)).toBeLessThan(isNew ? 1_100 : 150);
    expect((await attempt).acquired).toBe(false);
    // It owes for so long already that nobody waits for it any more.
    expect(await stage.lasting(client.locker.tryAcquire("k", { ttlMs: 10_000 }))).toBeLessThan(20);
  });
});

it("of two new processes that try once at the same time, far away, one wins", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const stage = createStage({ seed });
    await startedClient(stage);
    const clients = [stage.client({ ttlMs: 10_000 }), stage.client({ ttlMs: 10_000 })];
    for (const client of clients) {
      for (const link of client.links) link.setDelay({ toMs: [60, 90], backMs: [60, 90] });
    }
    const outcomes = await stage.wait(Promise.all(clients.map(({ locker }) => locker.tryAcquire("k"))));
    expect(outcomes.map(({ acquired }) => acquired)).toContain(true);
  }
});
