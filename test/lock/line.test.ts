/** Waiting: who comes first goes first, in one locker and across processes, and nobody asks again and again. */
import { describe, expect, it } from "vitest";
import {
  createLocker,
  QuorumLockError,
  type Backend,
  type BackendSession,
  type Deployment,
  type Lease,
  type LockHeldError,
} from "../../src/index.js";
import { ANY_DEPLOYMENT, createStage, type Client, type Stage } from "./stage.js";

const DELAY = { toMs: [1, 1], backMs: [1, 1] } as const;
const ROUND_TRIP_MS = 2;
const FAR = { toMs: [4, 5], backMs: [4, 5] } as const;
const FAR_ROUND_TRIP_MS = 10;
const TURNS = 10;
/** The first of them meet backends of which nobody knows yet that they are silent. */
const SETTLING_MS = 400;

/** So many processes on one world, each with links of a millisecond in each direction. */
function processes(stage: Stage, count: number, options: Parameters<Stage["client"]>[0] = {}): Client[] {
  return Array.from({ length: count }, () => {
    const client = stage.client({ ttlMs: 10_000, waitMs: 60_000, ...options });
    for (const link of client.links) link.setDelay(DELAY);
    return client;
  });
}

/** The error with which it rejects. */
async function errorOf(promise: Promise<unknown>): Promise<QuorumLockError> {
  const error: unknown = await promise.catch((reason: unknown) => reason);
  if (error instanceof QuorumLockError) return error;
  throw new Error("it did not reject with an error of ours");
}

function acquires(clients: readonly Client[]): number {
  return clients.flatMap(({ links }) => links).reduce((sum, { calls }) => sum + calls.acquire, 0);
}

/** Puts the deployment into service, and lets every process hear a call once, so that it knows that calls arrive. */
async function warmUp(stage: Stage, clients: readonly Client[]): Promise<void> {
  for (const client of clients) {
    const [first = client] = clients.filter((other) => other !== client);
    const lease = await stage.wait(first.locker.acquire("warm-up"));
    const next = client.locker.acquire("warm-up");
    await stage.time.advance(50);
    await stage.wait(lease.release());
    await stage.wait((await stage.wait(next)).release());
  }
}

describe("waiters of one locker", () => {
  it("get the lock in the order in which they came, and only the first asks the backends", async () => {
    const stage = createStage();
    const [holder, client] = processes(stage, 2) as [Client, Client];
    await warmUp(stage, [holder, client]);
    const held = await stage.wait(holder.locker.acquire("k"));
    const before = acquires([client]);
    const order: number[] = [];
    const waits = Array.from({ length: 20 }, async (_, i) => {
      const lease = await client.locker.acquire("k");
      order.push(i);
      await lease.release();
    });
    await stage.time.advance(500);
    // One on each of three backends; the other nineteen asked nobody.
    expect(acquires([client]) - before).toBe(3);
    await stage.wait(held.release());
    await stage.wait(Promise.all(waits));
    expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it("whose time is over while others are in front of them learn what those learnt, in time", async () => {
    const stage = createStage();
    const [holder, client] = processes(stage, 2) as [Client, Client];
    await stage.wait(holder.locker.acquire("k"));
    const first = errorOf(client.locker.acquire("k", { waitMs: 5_000 }));
    const second = errorOf(client.locker.acquire("k", { waitMs: 300 }));
    expect(await stage.lasting(second)).toBeCloseTo(300, 0);
    const error = (await second) as LockHeldError;
    expect(error.code).toBe("LOCK_HELD");
    expect(error.attempts).toBe(0);
    expect(error.votes.map(({ vote }) => vote)).toContain("held");
    expect(error.message).toContain("behind others of this process for all of 300 ms");
    expect((await stage.wait(first)).code).toBe("LOCK_HELD");
  });

  it("tell an outage from a held lock, also behind others", async () => {
    const stage = createStage();
    const [client] = processes(stage, 1) as [Client];
    await stage.wait((await stage.wait(client.locker.acquire("k"))).release());
    for (const link of client.links) link.kill();
    const first = errorOf(client.locker.acquire("k", { waitMs: 5_000 }));
    const second = errorOf(client.locker.acquire("k", { waitMs: 300 }));
    expect((await stage.wait(second)).code).toBe("NO_QUORUM");
    expect((await stage.wait(first)).code).toBe("NO_QUORUM");
  });

  it("leave the line when they are aborted or closed, and the next one moves up", async () => {
    const stage = createStage();
    const [holder, client] = processes(stage, 2) as [Client, Client];
    const held = await stage.wait(holder.locker.acquire("k"));
    const abort = new AbortController();
    const aborted = [1, 2].map(() => errorOf(client.locker.acquire("k", { signal: abort.signal })));
    const third = client.locker.acquire("k");
    await stage.time.advance(20);
    abort.abort();
    for (const error of await stage.wait(Promise.all(aborted))) expect(error.code).toBe("ABORTED");
    await stage.wait(held.release());
    expect(await stage.lasting(third)).toBeLessThan(400);
    const fourth = errorOf(client.locker.acquire("k"));
    await stage.time.advance(20);
    await stage.wait(client.locker.close());
    expect((await stage.wait(fourth)).code).toBe("CLOSED");
  });

  it("whose signal was aborted before are refused at once, also behind others", async () => {
    const stage = createStage();
    const [holder, client] = processes(stage, 2) as [Client, Client];
    await stage.wait(holder.locker.acquire("k"));
    const first = errorOf(client.locker.acquire("k", { waitMs: 5_000 }));
    const aborted = errorOf(client.locker.acquire("k", { signal: AbortSignal.abort() }));
    expect(await stage.lasting(aborted)).toBe(0);
    expect((await aborted).code).toBe("ABORTED");
    expect((await stage.wait(first)).code).toBe("LOCK_HELD");
  });
});

describe("waiters of several processes", () => {
  it("get the lock in the order in which they came, each within two round trips of the release", async () => {
    const stage = createStage({ n: 5 });
    const clients = processes(stage, 8);
    await warmUp(stage, clients);
    const [holder, ...waiting] = clients as [Client, ...Client[]];
    let held: Lease = await stage.wait(holder.locker.acquire("k"));
    const order: number[] = [];
    const waits: Promise<Lease>[] = [];
    for (const [i, client] of waiting.entries()) {
      waits.push(
        client.locker.acquire("k").then((lease) => {
          order.push(i);
          return lease;
        }),
      );
      await stage.time.advance(5);
    }
    for (const next of waits) {
      const releasedAt = stage.time.trueMs();
      void held.release();
      held = await stage.wait(next);
      expect(stage.time.trueMs() - releasedAt).toBeLessThanOrEqual(2 * ROUND_TRIP_MS + 1);
    }
    expect(order).toEqual(waiting.map((_, i) => i));
    await stage.wait(held.release());
  });

  it("cost a hand-over a bounded number of requests, however many they are", async () => {
    const perHold = async (count: number): Promise<number> => {
      const stage = createStage();
      const clients = processes(stage, count);
      await warmUp(stage, clients);
      const before = acquires(clients);
      const rounds = clients.map(async ({ locker }) => {
        for (let i = 0; i < 10; i++) await (await locker.acquire("k")).release();
      });
      await stage.wait(Promise.all(rounds));
      return (acquires(clients) - before) / (10 * count);
    };
    const [few, many] = [await perHold(5), await perHold(30)];
    expect(many).toBeLessThan(1.5 * few);
  });

  it("stand in line with their first attempt once their locker has met a lock of somebody else", async () => {
    const stage = createStage();
    const clients = processes(stage, 2) as [Client, Client];
    await warmUp(stage, clients);
    const [holder, client] = clients;
    const held = await stage.wait(holder.locker.acquire("k"));
    const before = acquires([client]);
    const waits = client.locker.acquire("k");
    await stage.time.advance(500);
    expect(acquires([client]) - before).toBe(3);
    await stage.wait(held.release());
    await stage.wait(waits);
    expect(acquires([client]) - before).toBe(6);
  });

  it("take their ticket back from a backend that says held behind the win, and from no other", async () => {
    const stage = createStage();
    const clients = processes(stage, 2) as [Client, Client];
    await warmUp(stage, clients);
    const [holder, client] = clients;
    const leaves = (): number[] => client.links.map(({ calls }) => calls.leave);
    const before = leaves();
    const slow = { toMs: [20, 20], backMs: [20, 20] } as const;
    client.links[2]?.setDelay(slow);
    const free = await stage.wait(client.locker.acquire("free"));
    await stage.time.advance(100);
    expect(leaves(), "all granted, one of them late").toEqual(before);
    await stage.wait(free.release());
    const held = await stage.wait(holder.locker.acquire("k"));
    holder.links[2]?.setDelay({ ...slow, toMs: [200, 200] });
    await stage.wait(held.release());
    await stage.wait(client.locker.acquire("k"));
    expect(leaves(), "not yet").toEqual(before);
    await stage.time.advance(100);
    expect(leaves()).toEqual(before.map((count, i) => (i === 2 ? count + 1 : count)));
  });

  it("lose a reservation and no more to a waiter that died", async () => {
    const stage = createStage();
    const clients = processes(stage, 3) as [Client, Client, Client];
    await warmUp(stage, clients);
    const [holder, dying, client] = clients;
    const held = await stage.wait(holder.locker.acquire("k"));
    void dying.locker.acquire("k").catch(() => undefined);
    await stage.time.advance(20);
    const waits = client.locker.acquire("k");
    await stage.time.advance(20);
    dying.process.crash();
    void held.release();
    expect(await stage.lasting(waits)).toBeLessThan(130);
  });

  it("get the lock without any call, too: by its expiry, and when calls are lost", async () => {
    const stage = createStage();
    const clients = processes(stage, 2, { ttlMs: 1_000 }) as [Client, Client];
    await warmUp(stage, clients);
    const [holder, client] = clients;
    await stage.wait(holder.locker.acquire("k"));
    holder.process.crash();
    expect(await stage.lasting(client.locker.acquire("k"))).toBeLessThan(1_100);
    const held = await stage.wait(client.locker.acquire("other"));
    const waits = client.locker.acquire("other");
    await stage.time.advance(20);
    for (const link of client.links) link.loseReplies(1);
    void held.release();
    await stage.time.advance(50);
    for (const link of client.links) link.loseReplies(0);
    expect(await stage.lasting(waits)).toBeLessThan(1_500);
  });

  it("that give up leave no ticket behind: the next release frees the key for anybody", async () => {
    const stage = createStage();
    const clients = processes(stage, 3) as [Client, Client, Client];
    await warmUp(stage, clients);
    const [holder, impatient, other] = clients;
    const held = await stage.wait(holder.locker.acquire("k"));
    expect((await stage.error(impatient.locker.acquire("k", { waitMs: 100 }))).code).toBe("LOCK_HELD");
    await stage.time.advance(20);
    await stage.wait(held.release());
    const maybe = await stage.wait(other.locker.tryAcquire("k"));
    expect(maybe.acquired).toBe(true);
  });

  it.each([
    ["there are only as many", 2, 0],
    ["one of three is down", 3, 1],
    ["one of three hangs", 3, 2],
  ] as const)(
    "have a turn in a few round trips each where all backends that vote must agree, and each is nearer to some of them: %s",
    async (_what, n, gone) => {
      const stage = createStage({ n });
      const clients = processes(stage, 8);
      await warmUp(stage, clients);
      for (const [i, { links }] of clients.entries()) {
        links[i % 2]?.setDelay(FAR);
        if (gone === 1) links[2]?.kill();
        if (gone === 2) links[2]?.hang();
      }
      const before = acquires(clients);
      const rounds = clients.map(async ({ locker }) => {
        for (let i = 0; i < TURNS; i++) await (await locker.acquire("k")).release();
      });
      const turns = clients.length * TURNS;
      expect(await stage.lasting(Promise.all(rounds))).toBeLessThan(
        turns * 3 * FAR_ROUND_TRIP_MS + SETTLING_MS,
      );
      expect((acquires(clients) - before) / turns).toBeLessThan(4 * n);
    },
  );

  it("ask now and then only where fewer backends call than decide, and all that do were given back a vote", async () => {
    const stage = createStage();
    const [holder, waiter] = processes(stage, 2) as [Client, Client];
    await warmUp(stage, [holder, waiter]);
    const [calling, ...others] = waiter.links;
    const silent = others.map((link) => ({
      ...link,
      open: (deployment: Deployment): BackendSession => {
        const { watch: _watch, leave: _leave, ...session } = link.open(deployment);
        return session;
      },
    }));
    const locker = createLocker({ backends: [calling as Backend, ...silent], system: waiter.process });
    const lease = await stage.wait(holder.locker.acquire("k"));
    // The holder's lock is gone on the one that calls: whoever waits is granted there, and gives it back, and is called.
    await stage.memories[0]?.open(ANY_DEPLOYMENT).forceRelease("k");
    const before = acquires([waiter]);
    const waits = locker.acquire("k", { ttlMs: 10_000, waitMs: 60_000 });
    await stage.time.advance(5_000);
    expect((acquires([waiter]) - before) / 3).toBeLessThan(40);
    await stage.wait(lease.release());
    await stage.wait((await stage.wait(waits)).release());
    await stage.wait(locker.close());
  });

  it("ask now and then only while somebody else has the lock on the other backends for long", async () => {
    const stage = createStage();
    const clients = processes(stage, 3) as [Client, Client, Client];
    await warmUp(stage, clients);
    const [holder, first, second] = clients;
    const lease = await stage.wait(holder.locker.acquire("k"));
    // The holder's lock is gone on one of three: whoever waits is granted there, and gives it back, and is called.
    await stage.memories[0]?.open(ANY_DEPLOYMENT).forceRelease("k");
    const before = acquires(clients);
    const waits = [first, second].map((client) => client.locker.acquire("k"));
    await stage.time.advance(5_000);
    expect((acquires(clients) - before) / 3).toBeLessThan(40);
    void lease.release();
    const next = await stage.wait(waits[0] as Promise<Lease>);
    await stage.wait(next.release());
    await stage.wait(waits[1] as Promise<Lease>);
  });
});
