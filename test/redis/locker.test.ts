/** The locker over real servers: what hangs, dies or comes late, in figures. */
import { expect } from "vitest";
import { LeaseLostError, NoQuorumError, type VoteReport } from "../../src/errors.js";
import type { Lease } from "../../src/lock/lease.js";
import type { Locker } from "../../src/lock/locker.js";
import type { LockerOptions } from "../../src/options.js";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningRedis } from "../servers/redis-server.ts";
import { backendsOn, eventually, figure, median, test, timed } from "./kit.ts";

const SHORT: Omit<LockerOptions, "backends"> = {
  ttlMs: 1_500,
  maxTtlMs: 2_000,
  clockSkewMs: 500,
  waitMs: 2_000,
};

/** The promise is 10 %; a busy machine may add to it without anybody's fault. */
const SLOWDOWN_MAX = 1.5;
/** At most this long before the end of validity, never after it; timers of a busy machine are late. */
const LOSS_EARLY_MS_MAX = 50;

for (const name of ["redis-7", "redis-8", "valkey-8"] as const) {
  await describeWithServer(name, "a locker whose servers fail", (serverName) => {
    test("two of three hang: refused within the wait, each named; an extension fails, and the lease is at risk", async ({
      servers,
      client,
      locker,
    }) => {
      const three = await servers(3, { server: serverName });
      const one = locker({ ...SHORT, backends: backendsOn(three, client) });
      const lease = await one.acquire("held");
      const atRisk: (readonly VoteReport[])[] = [];
      one.on("atRisk", ({ votes }) => atRisk.push(votes));
      for (const each of three.slice(0, 2)) await each.freeze();
      const [acquired, extended] = await Promise.all([
        timed(one.acquire("other", { waitMs: 500 })),
        timed(lease.extend()),
      ]);
      expect(acquired.ms).toBeLessThan(500 + 100);
      expect(acquired.error).toBeInstanceOf(NoQuorumError);
      for (const each of three.slice(0, 2)) {
        expect((acquired.error as Error).message).toMatch(
          new RegExp(`127\\.0\\.0\\.1:${each.port} failed \\(no answer within`),
        );
      }
      expect(extended.error).toBeInstanceOf(NoQuorumError);
      expect(extended.ms).toBeLessThan(400);
      expect(atRisk).toHaveLength(1);
      expect(atRisk[0]?.map(({ vote }) => vote)).toEqual(["fault", "fault", "granted"]);
      lease.assertHeld();
      for (const each of three) await each.thaw();
      await eventually("extended again", 1_000, () => lease.extend());
      expect(await lease.release()).toBe("released");
      await nothingHeld(three);
    });

    test("kill -9 of two of five under a kept lease: it lives, and can be given back", async ({
      servers,
      client,
      locker,
    }) => {
      const five = await servers(5, { server: serverName });
      const one = locker({ ...SHORT, ttlMs: 600, backends: backendsOn(five, client) });
      const lease = await one.acquire("k", { keepAlive: true });
      for (const each of five.slice(0, 2)) await each.kill();
      const until = performance.now() + 1_500;
      while (performance.now() < until) {
        lease.assertHeld(50);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const other = await one.tryAcquire("k");
      expect(other.acquired).toBe(false);
      expect(await lease.release()).toBe("released");
      const next = await one.acquire("k");
      expect(next.token).toBeGreaterThan(lease.token);
      await next.release();
    });
  });
}

await describeWithServer("redis-7", "a locker, in figures", () => {
  test("a SIGSTOPped server of three adds next to nothing to acquire and release", async ({
    servers,
    client,
    locker,
  }) => {
    const four = await servers(4);
    const [a, b, c, hung] = four;
    if (a === undefined || b === undefined || c === undefined || hung === undefined)
      throw new Error("no server");
    const healthy = locker({ ...SHORT, backends: backendsOn([a, b, c], client) });
    const crippled = locker({ ...SHORT, backends: backendsOn([a, b, hung], client) });
    for (const each of [healthy, crippled]) await (await each.acquire("warm-up")).release();
    await hung.freeze();
    const figures: [Locker, number[]][] = [
      [healthy, []],
      [crippled, []],
    ];
    for (let i = 0; i < 600; i++) {
      for (const [each, ms] of figures) {
        const from = performance.now();
        const lease = await each.acquire(`k${i}`);
        await lease.release();
        if (i >= 100) ms.push(performance.now() - from);
      }
    }
    await hung.thaw();
    const [all, two] = figures.map(([, ms]) => median(ms));
    const ratio = (two ?? 0) / (all ?? 1);
    figure(
      "acquire + release, median, three servers against three of which one is stopped",
      `${all?.toFixed(3)} ms, ${two?.toFixed(3)} ms, ratio ${ratio.toFixed(2)}`,
    );
    expect(ratio).toBeLessThan(SLOWDOWN_MAX);
    await nothingHeld(four);
  });

  for (const keepAlive of [false, true]) {
    test(`all servers hang: the signal fires just before validity ends (${keepAlive ? "kept" : "not kept"})`, async ({
      servers,
      client,
      locker,
    }) => {
      const three = await servers(3);
      const one = locker({ ...SHORT, backends: backendsOn(three, client) });
      for (let round = 0; round < 2; round++) {
        const lease = await one.acquire(`k${round}`, { keepAlive, waitMs: 5_000 });
        for (const each of three) await each.freeze();
        let endsAt = performance.now() + lease.remainingMs;
        const watch = setInterval(() => {
          if (lease.remainingMs > 0) endsAt = performance.now() + lease.remainingMs;
        }, 10);
        await new Promise((resolve) => lease.signal.addEventListener("abort", resolve, { once: true }));
        const earlyMs = endsAt - performance.now();
        clearInterval(watch);
        figure(
          `loss signal before the end of validity (${keepAlive ? "kept" : "not kept"})`,
          `${earlyMs.toFixed(1)} ms`,
        );
        expect(earlyMs).toBeLessThanOrEqual(LOSS_EARLY_MS_MAX);
        expect(earlyMs).toBeGreaterThanOrEqual(0);
        expect(lease.signal.reason).toBeInstanceOf(LeaseLostError);
        expect(lease.remainingMs).toBe(0);
        for (const each of three) await each.thaw();
        await lease.release();
        await nothingHeld(three);
      }
    });
  }
});

await describeWithServer("redis-7", "requests that are executed late", () => {
  test("an acquire that was given up on stopped servers leaves no lock: its release is behind it", async ({
    servers,
    client,
    locker,
  }) => {
    const three = await servers(3);
    const one = locker({ ...SHORT, backends: backendsOn(three, client) });
    await (await one.acquire("warm-up")).release();
    for (const each of three.slice(0, 2)) await each.freeze();
    const { error, ms } = await timed(one.acquire("k", { waitMs: 0 }));
    expect(error).toBeInstanceOf(NoQuorumError);
    expect(ms, "before the sockets are replaced").toBeLessThan(600);
    for (const each of three) await each.thaw();
    const from = performance.now();
    await nothingHeld(three);
    figure("no lock left after SIGCONT, same connection", `${(performance.now() - from).toFixed(0)} ms`);
    for (const each of three.slice(0, 2))
      expect(await each.cli("EXISTS", "{ql:k}:f"), "it was executed").toBe(1);
  });

  test("also when the connection was replaced meanwhile: the release is owed", async ({
    servers,
    client,
    locker,
  }) => {
    const three = await servers(3);
    const one = locker({ ttlMs: 30_000, backends: backendsOn(three, client) });
    await (await one.acquire("warm-up")).release();
    for (const each of three.slice(0, 2)) await each.freeze();
    const { error, ms } = await timed(one.acquire("k", { waitMs: 0 }));
    expect((error as NoQuorumError).votes.map(({ code }) => code)).toEqual([
      "BACKEND_DISCONNECTED",
      "BACKEND_DISCONNECTED",
      undefined,
    ]);
    expect(ms, "after the sockets are replaced").toBeGreaterThan(900);
    for (const each of three) await each.thaw();
    const from = performance.now();
    await eventually("the ghosts came", 1_000, async () => {
      const counters = await Promise.all(three.slice(0, 2).map((each) => each.cli("EXISTS", "{ql:k}:f")));
      return counters.every((count) => count === 1);
    });
    await nothingHeld(three);
    figure("no lock left after SIGCONT, connection replaced", `${(performance.now() - from).toFixed(0)} ms`);
    await (await one.acquire("k", { waitMs: 0 })).release();
  });

  test("a won acquire and its release reach a server that was stopped all along", async ({
    servers,
    client,
    locker,
  }) => {
    const three = await servers(3);
    const one = locker({ ...SHORT, backends: backendsOn(three, client) });
    await (await one.acquire("warm-up")).release();
    await three[2]?.freeze();
    for (let i = 0; i < 20; i++) expect(await (await one.acquire(`k${i}`)).release()).toBe("released");
    await three[2]?.thaw();
    await nothingHeld(three);
  });
});

await describeWithServer("redis-7", "what is left on the servers", () => {
  test("counters go when their retention is over, so that keys do not pile up", async ({
    servers,
    client,
    locker,
  }) => {
    const three = await servers(3);
    const one = locker({
      ttlMs: 200,
      maxTtlMs: 300,
      clockSkewMs: 50,
      tokenRetentionMs: 800,
      backends: backendsOn(three, client),
    });
    for (let i = 0; i < 50; i++) await (await one.acquire(`k${i}`)).release();
    for (const each of three) {
      await eventually("only the mark is left", 5_000, async () => (await each.cli("DBSIZE")) === 1);
      expect(await each.cli("GET", "ql:mark")).toMatch(/^ql1 /);
    }
  });
});

await describeWithServer("redis-7", "a soak", () => {
  test("ten seconds of kills, wipes and stops: never two holders, and tokens in order", async ({
    servers,
    client,
    locker,
  }) => {
    const seed = Number(process.env["QUORUM_LOCK_SOAK_SEED"] ?? Date.now() % 1_000_000);
    const replay = `QUORUM_LOCK_SOAK_SEED=${seed} npx vitest run test/redis/locker.test.ts -t soak`;
    const random = mulberry32(seed);
    const three = await servers(3);
    const options = { ttlMs: 800, maxTtlMs: 2_000, clockSkewMs: 200 };
    const lockers = Array.from({ length: 3 }, () =>
      locker({ ...options, backends: backendsOn(three, client) }),
    );
    const leases: Held[] = [];
    const until = performance.now() + 10_000;

    const contend = async (one: Locker): Promise<void> => {
      while (performance.now() < until) {
        const lease = await one
          .acquire("k", { waitMs: 1_000, keepAlive: random() < 0.5 })
          .catch(() => undefined);
        if (lease !== undefined) leases.push(await hold(lease, random() * 150));
      }
    };
    const done = { stop: 0, wipe: 0 };
    const stops = async (): Promise<void> => {
      while (performance.now() < until - 500) {
        await pause(50 + random() * 250);
        const victim = three[Math.floor(random() * 3)];
        // It may be about to be restarted.
        await victim?.freeze().catch(() => undefined);
        await pause(random() * 900);
        await victim?.thaw();
        done.stop++;
      }
    };
    const wipes = async (): Promise<void> => {
      for (;;) {
        // One quarantine at a time, so that work goes on; what forgets must have another in service beside it.
        await pause(2_450 + random() * 400);
        if (performance.now() > until - 500) return;
        await three[Math.floor(random() * 3)]?.restart({ empty: true });
        done.wipe++;
      }
    };
    await Promise.all([stops(), wipes(), ...lockers.map(contend)]);
    figure("soak", `${leases.length} leases, ${JSON.stringify(done)}, seed ${seed}`);
    expect(leases.length, replay).toBeGreaterThan(20);
    expect(overlaps(leases), replay).toEqual([]);
    expect(disorder(leases), replay).toEqual([]);
  });
});

/** When a lease was in use for sure, by the monotonic clock of this process, which all lockers of the soak share. */
interface Held {
  readonly token: bigint;
  readonly from: number;
  readonly to: number;
}

/** Works under the lease as long as it is valid, for `ms` at most. */
async function hold(lease: Lease, ms: number): Promise<Held> {
  const from = performance.now();
  let to = from;
  while (lease.remainingMs > 0) {
    to = performance.now();
    if (to - from > ms) break;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await lease.release();
  return { token: lease.token, from, to };
}

function overlaps(leases: readonly Held[]): string[] {
  const sorted = leases.toSorted((a, b) => a.from - b.from);
  return sorted.flatMap((each, i) => {
    const next = sorted[i + 1];
    return next !== undefined && next.from < each.to
      ? [`${each.token} until ${each.to}, ${next.token} from ${next.from}`]
      : [];
  });
}

function disorder(leases: readonly Held[]): string[] {
  const sorted = leases.toSorted((a, b) => a.from - b.from);
  return sorted.flatMap((each, i) => {
    const next = sorted[i + 1];
    return next !== undefined && next.token <= each.token ? [`${each.token}, then ${next.token}`] : [];
  });
}

test("the checkers of the soak see what they are for", () => {
  const first = { token: 1n, from: 0, to: 10 };
  expect(overlaps([first, { token: 2n, from: 9, to: 12 }])).toHaveLength(1);
  expect(disorder([first, { token: 1n, from: 11, to: 12 }])).toHaveLength(1);
  expect([...overlaps([first, { token: 2n, from: 10, to: 12 }]), ...disorder([first])]).toEqual([]);
});

/** Nothing may stay locked once everything that was sent has arrived. */
async function nothingHeld(servers: readonly RunningRedis[]): Promise<void> {
  for (const each of servers) {
    await eventually(
      `no lock left on ${each.port}`,
      2_500,
      async () => ((await each.cli("KEYS", "*:l")) as unknown[]).length === 0,
    );
  }
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** A small random generator with a seed. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
