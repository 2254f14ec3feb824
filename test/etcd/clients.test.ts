/** What users pass as a client, and what becomes of it: stock, recommended, closed, a cluster, the same server twice. */
import { fork } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { etcd, recommendedEtcdOptions } from "../../src/adapters/etcd.js";
import { InvalidOptionError, SameBackendError } from "../../src/errors.js";
import {
  acquire,
  ALICE,
  BOB,
  eventually,
  expectFault,
  figure,
  grant,
  median,
  putInService,
  timed,
} from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { keysOf, leasesOf, test, TTL_MS } from "./kit.ts";
import { startDefaultEtcd, startEtcdCluster } from "./start-cluster.ts";

const MORE = { ttlMs: TTL_MS };
/** Where many calls at once meet a busy machine. */
const SLOW = { callTimeoutMs: 10_000 };
const SHORT = { ttlMs: 5_000, maxTtlMs: 6_000, clockSkewMs: 500, waitMs: 5_000 };

await describeWithServer("etcd-3.5", "a client of the user's own", () => {
  test("stock: goes on working beside, is not closed, and its settings stay", async ({
    server,
    client,
    locker,
  }) => {
    const running = await server("etcd-3.5");
    const own = client(running);
    const before = JSON.stringify(Reflect.get(own, "options"));
    await own.put("theirs").value("before");
    const [first, second] = [0, 1].map(() => locker({ ...SHORT, backends: [etcd(own)] }));
    const [lease] = await Promise.all([
      first?.acquire("k"),
      ...Array.from({ length: 50 }, (_, i) => own.put(`theirs/${i}`).value(String(i))),
    ]);
    await lease?.release();
    await first?.close();
    const again = await second?.acquire("k");
    expect(again?.token).toBeGreaterThan(lease?.token ?? 0n);
    await again?.release();
    await second?.close();
    expect(await own.get("theirs").string()).toBe("before");
    expect((await own.getAll().prefix("theirs/").keys()).length).toBe(50);
    expect(JSON.stringify(Reflect.get(own, "options"))).toBe(before);
  });

  test("recommended options: used as it is, and left open", async ({ server, client, locker }) => {
    const running = await server("etcd-3.5");
    const own = client(running, recommendedEtcdOptions());
    let calls = 0;
    const txn = own.kv.txn.bind(own.kv);
    own.kv.txn = (...args: Parameters<typeof txn>) => {
      calls++;
      return txn(...args);
    };
    const one = locker({ ...SHORT, backends: [etcd(own)] });
    await (await one.acquire("k")).release();
    await one.close();
    expect(calls).toBeGreaterThan(0);
    expect(await own.put("theirs").value("after")).toBeDefined();
  });

  test("closed by its owner: a fault that says so", async ({ server, client, session }) => {
    const own = client(await server("etcd-3.5"), recommendedEtcdOptions());
    const opened = session(etcd(own));
    await putInService(opened);
    own.close();
    const error = await expectFault(acquire(opened, "k", MORE), "BACKEND_NOT_CONNECTED", /client was closed/);
    expect(error.effect).toBe("none");
  });

  test("one connection of the adapter's own for all lockers, closed with the last of them", async ({
    server,
    proxyTo,
    client,
    session,
  }) => {
    const proxy = await proxyTo(await server("etcd-3.5"));
    const own = client(proxy);
    const sessions = [0, 1].map(() => session(etcd(own, SLOW)));
    for (const each of sessions) await putInService(each);
    const before = proxy.connections;
    for (const each of sessions) await each.status();
    expect(proxy.connections).toBe(before);
    await sessions[0]?.close();
    await grant(sessions[1] ?? never(), "k", MORE);
    await sessions[1]?.close();
    await eventually("closed", 2_000, async () => proxy.connections === 0);
  });

  test("no client at all, and options that are none", async ({ client }) => {
    const own = client({ port: 1 });
    expect(() => etcd({} as never)).toThrow(InvalidOptionError);
    expect(() => etcd(own, { prefix: "a/b" })).toThrow(/prefix.*letters/);
    expect(() => etcd(own, { callTimeoutMs: 0 })).toThrow(/callTimeoutMs.*100 to 60000/);
    expect(() => etcd(own, { durable: true } as never)).toThrow(/durable/);
  });

  test("one server twice is refused, under whatever prefix", async ({ server, client, locker }) => {
    const running = await server("etcd-3.5");
    const backends = ["a", "b", "c"].map((prefix) => etcd(client(running), { prefix, name: prefix }));
    await expect(locker({ ...SHORT, backends }).acquire("k")).rejects.toThrow(SameBackendError);
  });

  test("three servers that were started with the defaults, and have one cluster id, are three", async ({
    client,
    session,
    locker,
    after,
  }) => {
    const three = await Promise.all([0, 1, 2].map(() => startDefaultEtcd("etcd-3.5")));
    for (const each of three) after(() => each.stop());
    const backends = three.map((each) => etcd(client(each)));
    const origins = await Promise.all(
      backends.map(async (each) => (await session(each).status()).identity.incarnation.split(".")[1]),
    );
    expect(new Set(origins).size).toBe(1);
    // The sessions above were of other figures than this locker.
    const prefixed = three.map((each) => etcd(client(each), { prefix: "three" }));
    const lease = await locker({ ...SHORT, backends: prefixed }).acquire("k");
    expect(lease.token).toBeGreaterThan(0n);
    await lease.release();
  });

  test("a quorum of one: holds, keeps, waits, releases, and leaves no lock and few leases behind", async ({
    server,
    client,
    locker,
  }) => {
    const running = await server("etcd-3.5");
    const own = client(running);
    const [one, two] = [0, 1].map(() => locker({ ...SHORT, ttlMs: 2_000, backends: [etcd(own)] }));
    if (one === undefined || two === undefined) throw new Error("no locker");
    const order: string[] = [];
    const tokens: bigint[] = [];
    await Promise.all([
      one.withLock("k", async (lease) => {
        tokens.push(lease.token);
        order.push("first in");
        // Longer than the TTL: the keeper extends it, by a lease anew each time.
        await new Promise((resolve) => setTimeout(resolve, 4_000));
        lease.assertHeld();
        order.push("first out");
      }),
      (async () => {
        await eventually("the first is in", 3_000, async () => order.length === 1);
        await two.withLock("k", { waitMs: 10_000 }, async (lease) => {
          tokens.push(lease.token);
          order.push("second in");
        });
      })(),
    ]);
    expect(order).toEqual(["first in", "first out", "second in"]);
    expect(tokens[1]).toBeGreaterThan(tokens[0] ?? 0n);
    expect(await keysOf(running, "ql/l/")).toEqual([]);
    // What nothing hangs on is given up at once; what is left is one lease for the counters of each session.
    await eventually("leases are given up", 4_000, async () => (await leasesOf(running)) <= 2);
  });

  test("a hundred counters hang on one lease, and a lock ends with its own", async ({
    server,
    inService,
  }) => {
    const running = await server("etcd-3.5");
    const session = await inService(running, SLOW);
    await Promise.all(Array.from({ length: 100 }, (_, i) => grant(session, `k${i}`, MORE)));
    expect(await leasesOf(running)).toBe(101);
    await Promise.all(Array.from({ length: 100 }, (_, i) => session.release(`k${i}`, ALICE)));
    await eventually("leases of locks are given up", 1_000, async () => (await leasesOf(running)) === 1);
    expect((await keysOf(running, "ql/f/")).length).toBe(100);
  });

  test("a key that others hold costs no lease for each attempt", async ({ server, inService }) => {
    const running = await server("etcd-3.5");
    const session = await inService(running, SLOW);
    await grant(session, "k", MORE);
    expect((await acquire(session, "k", { ...MORE, owner: BOB })).kind).toBe("held");
    await eventually("the lease in vain is given up", 1_000, async () => (await leasesOf(running)) === 2);
    for (let i = 0; i < 20; i++) {
      expect((await acquire(session, "k", { ...MORE, owner: BOB })).kind).toBe("held");
    }
    expect(await leasesOf(running)).toBe(2);
    await session.release("k", ALICE);
    await grant(session, "k", { ...MORE, owner: BOB });
  });

  test("how long an acquire and a release take", async ({ server, inService }) => {
    const session = await inService(await server("etcd-3.5"), SLOW);
    const acquired: number[] = [];
    const released: number[] = [];
    for (let i = 0; i < 100; i++) {
      acquired.push((await timed(grant(session, "k", MORE))).ms);
      released.push((await timed(session.release("k", ALICE))).ms);
    }
    figure("etcd: acquire of a free key, median of 100", `${median(acquired).toFixed(1)} ms`);
    figure("etcd: release, median of 100", `${median(released).toFixed(1)} ms`);
  });

  test("a process that closed its locker and its client ends by itself", async ({ server }) => {
    const running = await server("etcd-3.5");
    for (const how of ["stock", "recommended"]) {
      const from = performance.now();
      const program = join(fileURLToPath(import.meta.url), "..", "close-process.mjs");
      const child = fork(program, [how, String(running.port)], {
        stdio: ["ignore", "pipe", "inherit", "ipc"],
      });
      let out = "";
      child.stdout?.on("data", (chunk) => (out += String(chunk)));
      const code = await new Promise((resolve) => child.on("exit", resolve));
      expect(out).toBe("token, closed\n");
      expect(code).toBe(0);
      figure(
        `etcd: a process with a ${how} client, from start to end`,
        `${(performance.now() - from).toFixed(0)} ms`,
      );
      expect(performance.now() - from).toBeLessThan(5_000);
    }
  });
});

function never(): never {
  throw new Error("no session");
}

await describeWithServer("etcd-3.5", "a cluster of three members, which is one backend", () => {
  test("a member that is killed and one that hangs are passed over; without a majority nothing is granted", async ({
    client,
    session,
    after,
  }) => {
    const members = await startEtcdCluster("etcd-3.5", 3);
    for (const each of members) after(() => each.stop());
    const opened = session(etcd(client(members)));
    await putInService(opened);
    const fence = await grant(opened, "k", MORE);
    const [first, second] = members;
    await first?.kill();
    // The leader may have been killed: another one is elected.
    const ms = await eventually("granted by two of three", 3_000, () =>
      grant(opened, "after the kill", MORE),
    );
    figure("etcd: a cluster of three works again after the kill of a member in", `${ms.toFixed(0)} ms`);
    for (let i = 0; i < 20; i++) await grant(opened, `k${i}`, MORE);
    expect(await opened.inspect("k")).toMatchObject({ lock: { owner: ALICE, fence } });
    const { findings } = await opened.examine();
    expect(findings.map(({ text }) => text).join("\n")).toMatch(/1 of 3 members did not answer/);
    await second?.freeze();
    const { error } = await timed(acquire(opened, "no majority", MORE));
    expect((error as { code: string }).code).toMatch(/^BACKEND_/);
    await second?.thaw();
    await eventually("a majority is back", 5_000, () => grant(opened, "again", MORE));
    await first?.restart("kept");
    await second?.freeze();
    await eventually("one hangs, two are there", 8_000, () => grant(opened, "one hangs", MORE));
    let faults = 0;
    for (let i = 0; i < 20; i++) {
      if ((await timed(grant(opened, `hung${i}`, MORE))).error !== undefined) faults++;
    }
    expect(
      faults,
      "the member that hangs is tried again now and then, and otherwise left alone",
    ).toBeLessThan(3);
  });
});
