/** What users pass as a client, and what becomes of it; and what becomes of the numbers that memjs counts. */
import { fork } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "memjs";
import { expect } from "vitest";
import { memcached } from "../../src/adapters/memcached.js";
import { InvalidOptionError, SameBackendError } from "../../src/errors.js";
import { acquire, ALICE, BOB, eventually, figure, grant, median, putInService, timed } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { textCall } from "../servers/text-call.ts";
import { test, TTL_MS } from "./kit.ts";

const NAME = "memcached-1.6.38";
const MORE = { ttlMs: TTL_MS };
const SHORT = { ttlMs: 5_000, maxTtlMs: 6_000, clockSkewMs: 500, waitMs: 5_000 };

const say = (server: { readonly port: number }, question: string, end: string): Promise<string> =>
  textCall({ port: server.port, timeoutMs: 1_000, end }, question);

await describeWithServer(NAME, "a client of the user's own", () => {
  test("goes on working beside, is not closed, and its settings stay", async ({ server, client, locker }) => {
    const three = await Promise.all([0, 1, 2].map(() => server(NAME)));
    const clients = three.map((each) => client(each));
    const [own] = clients;
    if (own === undefined) throw new Error("no client");
    const before = JSON.stringify([own.options, own.servers.map(({ host, port }) => [host, port])]);
    await own.set("theirs", "before");
    const [first, second] = [0, 1].map(() =>
      locker({ ...SHORT, backends: clients.map((each) => memcached(each)) }),
    );
    const [lease] = await Promise.all([
      first?.acquire("k"),
      ...Array.from({ length: 50 }, (_, i) => own.set(`theirs:${i}`, String(i))),
    ]);
    await lease?.release();
    await first?.close();
    const again = await second?.acquire("k");
    expect(again?.token).toBeGreaterThan(lease?.token ?? 0n);
    await again?.release();
    await second?.close();
    expect(String((await own.get("theirs")).value)).toBe("before");
    expect(String((await own.get("theirs:49")).value)).toBe("49");
    expect(JSON.stringify([own.options, own.servers.map(({ host, port }) => [host, port])])).toBe(before);
  });

  test("one connection for all lockers of the process, and none after the last is closed", async ({
    server,
    client,
    session,
  }) => {
    const running = await server(NAME);
    const own = client(running);
    const connections = async (): Promise<number> => {
      const stats = await say(running, "stats\r\n", "END\r\n");
      // Without the one that asks.
      return Number(/curr_connections (\d+)/.exec(stats)?.[1]) - 1;
    };
    // The server takes a moment to see that whoever started it, or asked before, is gone.
    const none = 0;
    await expect.poll(connections, { timeout: 1_000 }).toBe(none);
    const sessions = [0, 1, 2].map(() => session(memcached(own)));
    await Promise.all(sessions.map((each) => each.status()));
    await expect.poll(connections, { timeout: 1_000 }).toBe(none + 1);
    await sessions[0]?.close();
    await sessions[1]?.close();
    await sessions[2]?.status();
    await sessions[2]?.close();
    await expect(sessions[2]?.status()).rejects.toMatchObject({ code: "BACKEND_NOT_CONNECTED" });
    await expect.poll(connections, { timeout: 1_000 }).toBe(none);
  });

  test("no client, several servers, and options that are none", async ({ client }) => {
    expect(() => memcached({} as never)).toThrow(InvalidOptionError);
    expect(() => memcached(Client.create("127.0.0.1:1,127.0.0.1:2"))).toThrow(/one server.*2/);
    expect(() => memcached(client({ port: 1 }), { prefix: "a b" })).toThrow(/prefix.*letters/);
    expect(() => memcached(client({ port: 1 }), { durable: true } as never)).toThrow(/durable/);
  });

  test("one server twice is refused, under whatever prefix", async ({ server, client, locker }) => {
    const running = await server(NAME);
    const backends = ["a", "b", "c"].map((prefix) => memcached(client(running), { prefix, name: prefix }));
    await expect(locker({ ...SHORT, backends }).acquire("k")).rejects.toThrow(SameBackendError);
  });

  test("odd keys are hashed, and the item tells the whole key", async ({ server, inService }) => {
    const running = await server(NAME);
    const session = await inService(running);
    await grant(session, "plain/key:1", MORE);
    expect(await say(running, "get ql:k:plain/key:1\r\n", "END\r\n")).toContain('"key":"plain/key:1"');
    for (const key of ["with blank", "é", "x".repeat(512), "line\nbreak"]) await grant(session, key, MORE);
    expect(await say(running, "get ql:k:with\r\n", "END\r\n")).toBe("END\r\n");
  });

  test("items are kept for the retention time, also beyond the 30 days that memcached takes for a date", async ({
    server,
    client,
    session,
  }) => {
    const running = await server(NAME);
    const day = 24 * 3_600;
    for (const days of [1, 29, 31, 400]) {
      const opened = session(memcached(client(running), { prefix: `for${days}` }), {
        tokenRetentionMs: days * day * 1_000,
      });
      await putInService(opened);
      const fence = await grant(opened, "k", MORE);
      await opened.release("k", ALICE);
      expect((await opened.inspect("k")).counter, `after ${days} days`).toBe(fence);
      const [, left] = /^HD t(\d+)/.exec(await say(running, `mg for${days}:k:k t\r\n`, "\r\n")) ?? [];
      expect(Number(left)).toBeGreaterThanOrEqual(days * day);
      expect(Number(left)).toBeLessThan(days * day + 10);
    }
  });

  test("the sequence number of memjs: set near 2^31 it goes on, where memjs itself throws", async ({
    server,
    client,
    session,
  }) => {
    const running = await server(NAME);
    const made: Client[] = [];
    class Watched extends Client {
      constructor(...args: ConstructorParameters<typeof Client>) {
        super(...args);
        made.push(this);
      }
    }
    const own = client(running);
    const opened = session(memcached(new Watched(own.servers, own.options)));
    await putInService(opened);
    const ours = made.at(-1);
    Reflect.set(ours ?? {}, "seq", 0x7fff_ffff - 30);
    for (let i = 0; i < 20; i++) {
      await grant(opened, "k", MORE);
      expect((await acquire(opened, "k", { ...MORE, owner: BOB })).kind).toBe("held");
      await opened.release("k", ALICE);
    }
    expect(made.at(-1), "on the same connection").toBe(ours);
    expect(ours?.seq).toBeGreaterThan(0);
    expect(ours?.seq).toBeLessThan(1_000);
    Reflect.set(own, "seq", 0x7fff_ffff);
    expect(() => own.get("theirs", () => undefined)).toThrow(RangeError);
  });

  test("a lock that begins at whatever moment of a second does not end early, and at most four seconds late", async ({
    server,
    inService,
  }) => {
    const session = await inService(await server(NAME));
    const ttlMs = 1_500;
    const lasted = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        await new Promise((resolve) => setTimeout(resolve, i * 90));
        const from = performance.now();
        await grant(session, `k${i}`, { ttlMs });
        const begun = performance.now();
        let [seenAt, goneAt] = [begun, begun];
        await eventually(`k${i} ends`, 10_000, async () => {
          const askedAt = performance.now();
          const { lock } = await session.inspect(`k${i}`);
          if (lock !== undefined) seenAt = askedAt;
          goneAt = performance.now();
          return lock === undefined;
        });
        return { atMostMs: goneAt - from, atLeastMs: seenAt - begun };
      }),
    );
    expect(lasted.filter(({ atMostMs }) => atMostMs < ttlMs)).toEqual([]);
    expect(lasted.filter(({ atLeastMs }) => atLeastMs > ttlMs + 4_000)).toEqual([]);
    const all = lasted.map(({ atMostMs }) => atMostMs - ttlMs);
    figure(
      "memcached: how late locks end",
      `${Math.min(...all).toFixed(0)} to ${Math.max(...all).toFixed(0)} ms`,
    );
  });

  test("how long an acquire and a release take", async ({ server, inService }) => {
    const session = await inService(await server(NAME));
    const acquired: number[] = [];
    const released: number[] = [];
    for (let i = 0; i < 200; i++) {
      acquired.push((await timed(grant(session, "k", MORE))).ms);
      released.push((await timed(session.release("k", ALICE))).ms);
    }
    figure("memcached: acquire of a free key, median of 200", `${median(acquired).toFixed(2)} ms`);
    figure("memcached: release, median of 200", `${median(released).toFixed(2)} ms`);
  });

  test("a process that closed its locker and its clients ends by itself", async ({ server }) => {
    const three = await Promise.all([0, 1, 2].map(() => server(NAME)));
    const program = join(fileURLToPath(import.meta.url), "..", "close-process.mjs");
    const from = performance.now();
    const child = fork(
      program,
      three.map(({ port }) => String(port)),
      {
        stdio: ["ignore", "pipe", "inherit", "ipc"],
      },
    );
    let out = "";
    child.stdout?.on("data", (chunk) => (out += String(chunk)));
    const code = await new Promise((resolve) => child.on("exit", resolve));
    expect(out).toBe("token, closed\n");
    expect(code).toBe(0);
    expect(performance.now() - from).toBeLessThan(5_000);
  });
});
