/** What a review broke, on real servers. */
import { expect } from "vitest";
import { redis } from "../../src/adapters/redis.js";
import { REGISTER } from "../../src/adapters/redis/scripts.js";
import { createLocker } from "../../src/lock/locker.js";
import { describeWithServer } from "../servers/needs.ts";
import { waitUntil } from "../servers/wait-until.ts";
import { BOB, acquire, expectFault, grant, test } from "./kit.ts";

/** Keeps this process from turning its event loop. */
function stall(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

await describeWithServer("redis-7", "a review", () => {
  test("a client that says restartGuard off cannot end the quarantine of durable ones: it is refused", async ({
    servers,
    stockClient,
    locker,
  }) => {
    const group = await servers(3);
    const backends = () => group.map((server) => redis(stockClient(server), { durable: true }));
    const one = locker({ backends: backends() });
    const lease = await one.acquire("key");
    await Promise.all(group.slice(0, 2).map((server) => server.cli("FLUSHALL")));
    const off = locker({ backends: backends(), restartGuard: "off" });
    // On the two without a mark it is the first, and a majority: whatever it acquires before the third one's answer is in is granted.
    let refusal: unknown;
    await waitUntil({ what: "the third one to refuse it", timeoutMs: 5_000 }, async () => {
      refusal = await off.acquire("tests", { waitMs: 500 }).then(
        (granted) => granted.release().then(() => undefined),
        (error: unknown) => error,
      );
      return refusal !== undefined;
    });
    expect(refusal).toMatchObject({ code: "CONFIG_MISMATCH" });
    const other = locker({ backends: backends() });
    await expect(other.tryAcquire("key")).rejects.toMatchObject({ code: "CONFIG_MISMATCH" });
    expect(lease.remainingMs).toBeGreaterThan(0);
  });

  test("a volatile client on durable servers is refused, and the others go on", async ({
    servers,
    stockClient,
    locker,
  }) => {
    const group = await servers(3);
    const one = locker({ backends: group.map((server) => redis(stockClient(server), { durable: true })) });
    await (await one.acquire("key")).release();
    const forgetful = locker({ backends: group.map((server) => redis(stockClient(server))) });
    await expect(forgetful.acquire("key", { waitMs: 500 })).rejects.toMatchObject({
      code: "CONFIG_MISMATCH",
      message: expect.stringContaining("durable: true"),
    });
    expect((await one.tryAcquire("key")).acquired).toBe(true);
  });

  test("a release that one server has still to be given the script of is not cut off by close()", async ({
    servers,
    client,
    locker,
  }) => {
    const group = await servers(3);
    const late = group[2] ?? expect.fail("three servers");
    const clients = group.map((server) => client(server));
    const one = locker({ backends: clients.map((each) => redis(each)), ttlMs: 30_000 });
    const lease = await one.acquire("key");
    const holds = async (): Promise<boolean> => (await late.cli("EXISTS", "{ql:key}:l")) === 1;
    await waitUntil({ what: "all three to grant", timeoutMs: 5_000 }, holds);
    await late.cli("SCRIPT", "FLUSH");
    await late.freeze();
    expect(await lease.release()).toBe("released");
    const closed = one.close();
    await late.thaw();
    await closed;
    for (const each of clients) each.disconnect();
    expect(await holds()).toBe(false);
  });

  test("a server whose INFO names no process is refused, not taken for one that never restarts", async ({
    server,
    stockClient,
  }) => {
    const c = stockClient(await server());
    const lua = REGISTER.lua.replace("run_id:", "no_such_line:");
    expect(await c.eval(lua, 1, "ql:mark", "volatile", "3", "2", "2000", "3000", "random")).toEqual([
      "blind",
    ]);
    expect(await c.get("ql:mark")).toBeNull();
  });

  test("a server that was read-only for a moment is looked at again before it grants", async ({
    servers,
    inService,
  }) => {
    const [master, replica] = await servers(2);
    if (master === undefined || replica === undefined) throw new Error("two servers");
    const session = await inService(master);
    await grant(session, "warm");
    const before = await master.cli("CONFIG", "RESETSTAT").then(() => infoCalls(master));
    await master.cli("REPLICAOF", "127.0.0.1", String(replica.port));
    await expectFault(acquire(session, "key", { owner: BOB }), "BACKEND_READONLY");
    await master.cli("REPLICAOF", "NO", "ONE");
    // Its memory may be another one by now, and the next operation must be preceded by a look.
    const reply = await acquire(session, "key", { owner: BOB });
    expect(reply.kind).toBe("quarantined");
    expect(await infoCalls(master)).toBeGreaterThan(before);
  });

  test("a thousand at once on healthy servers all get their locks", async ({
    servers,
    stockClient,
    locker,
  }) => {
    const group = await servers(3);
    const one = locker({ backends: group.map((server) => redis(stockClient(server))) });
    await (await one.acquire("(start)")).release();
    const all = await Promise.all(Array.from({ length: 1_000 }, (_, i) => one.tryAcquire(`key-${i}`)));
    expect(all.filter(({ acquired }) => !acquired)).toEqual([]);
  });

  test("a stall of this process past the deadline does not make answers time-outs that lie unread", async ({
    servers,
    stockClient,
    locker,
  }) => {
    const group = await servers(3);
    const one = locker({ backends: group.map((server) => redis(stockClient(server))), ttlMs: 1_000 });
    await (await one.acquire("(start)")).release();
    const faults: string[] = [];
    one.on("backendFault", ({ error }) => faults.push(error.code));
    const trying = one.tryAcquire("key");
    stall(260);
    const lease = await trying;
    if (!lease.acquired) throw lease.error;
    // Once before, so that the servers know the script: one that does not answers that first, and is asked again.
    await lease.extend();
    const extending = lease.extend();
    stall(260);
    expect(await extending).toBeGreaterThan(0);
    expect(faults).toEqual([]);
  });

  test("a key that holds something else costs its own operations, and no others", async ({
    servers,
    stockClient,
    locker,
  }) => {
    const group = await servers(3);
    const one = locker({ backends: group.map((server) => redis(stockClient(server))) });
    await (await one.acquire("(start)")).release();
    const [, , third] = group;
    if (third === undefined) throw new Error("three servers");
    await third.cli("LPUSH", "{ql:bad}:l", "mine");
    const faults: string[] = [];
    one.on("backendFault", ({ error }) => faults.push(error.code));
    for (let i = 0; i < 20; i++) await (await one.acquire("bad")).release();
    const before = await scripts(third);
    for (let i = 0; i < 100; i++) await (await one.acquire(`good-${i}`)).release();
    // 200, and the look once a second.
    expect((await scripts(third)) - before).toBeLessThan(220);
    expect(faults).toEqual([]);
  });

  test("an acquire that waits for its connection leaves nothing behind a close", async ({
    servers,
    client,
  }) => {
    const group = await servers(3);
    const warm = createLocker({ backends: group.map((server) => redis(client(server))) });
    await (await warm.acquire("(start)")).release();
    await warm.close();
    const clients = group.map((server) => client(server, { lazyConnect: true }));
    const one = createLocker({ backends: clients.map((each) => redis(each)) });
    const other = createLocker({ backends: clients.map((each) => redis(each)) });
    const refused = one.acquire("key").catch((error: unknown) => error);
    await one.close();
    expect(await refused).toMatchObject({ code: "CLOSED" });
    const held = await Promise.all(group.map((server) => server.cli("EXISTS", "{ql:key}:l")));
    expect(held).toEqual([0, 0, 0]);
    const lease = await other.tryAcquire("key");
    expect(lease.acquired).toBe(true);
    await other.close();
  });

  test("a client that reads numbers as text releases all the same", async ({
    servers,
    stockClient,
    locker,
  }) => {
    const group = await servers(3);
    const backends = group.map((server) => redis(stockClient(server, { stringNumbers: true })));
    const lease = await locker({ backends }).acquire("key");
    expect(await lease.release()).toBe("released");
  });
});

async function infoCalls(server: { cli(...args: string[]): Promise<unknown> }): Promise<number> {
  return Number(/cmdstat_info:calls=(\d+)/.exec(String(await server.cli("INFO", "commandstats")))?.[1] ?? 0);
}

async function scripts(server: { cli(...args: string[]): Promise<unknown> }): Promise<number> {
  return Number(
    /cmdstat_evalsha:calls=(\d+)/.exec(String(await server.cli("INFO", "commandstats")))?.[1] ?? 0,
  );
}
