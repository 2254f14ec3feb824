/** What is asked for in one turn of the event loop travels as one call, and each operation fares as it would alone. */
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect } from "vitest";
import { redis } from "../../src/adapters/redis.js";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningRedis } from "../servers/redis-server.ts";
import {
  acquire,
  ALICE,
  backendsOn,
  BOB,
  eventually,
  expectFault,
  grant,
  proposal,
  putInService,
  SERVERS,
  test,
} from "./kit.ts";

/** How many scripts the server has run since it was last asked to forget. */
async function scriptsRun(server: RunningRedis): Promise<number> {
  const stats = String(await server.cli("INFO", "commandstats"));
  const calls = (command: string): number =>
    Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  return calls("evalsha") + calls("eval");
}

for (const name of SERVERS) {
  await describeWithServer(name, "operations of one turn", (serverName) => {
    test("travel as one call, a bounded number in each; one alone, and the first two behind a quiet turn, at once", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      const many = Array.from({ length: 125 }, (_, i) => `k${i}`);
      // The script is there from then on.
      await Promise.all(["w1", "w2", "w3", "w4"].map((key) => acquire(session, key)));
      await session.release("w1", ALICE);
      await acquire(session, "w5");
      for (const { keys, calls } of [
        { keys: many, calls: 4 },
        { keys: many.map((key) => `again:${key}`), calls: 2 },
        { keys: ["alone"], calls: 1 },
      ]) {
        await redisServer.cli("CONFIG", "RESETSTAT");
        const fences = await Promise.all(keys.map((key) => grant(session, key)));
        expect(new Set(fences).size).toBe(keys.length);
        expect(await scriptsRun(redisServer)).toBe(calls);
      }
      await redisServer.cli("CONFIG", "RESETSTAT");
      const released = await Promise.all(many.map((key) => session.release(key, ALICE)));
      expect(new Set(released)).toEqual(new Set(["released"]));
      expect(await scriptsRun(redisServer)).toBe(4);
    });

    test("each tells of its release in the context of whoever released", async ({
      servers,
      client,
      locker,
    }) => {
      const three = await servers(3, { server: serverName });
      const one = locker({ backends: backendsOn(three, client), ttlMs: 5_000, waitMs: 5_000 });
      const requests = new AsyncLocalStorage<string>();
      const told: (readonly [key: string, request: string | undefined])[] = [];
      one.on("released", ({ key }) => told.push([key, requests.getStore()]));
      await (await one.acquire("first")).release();
      told.length = 0;
      const keys = Array.from({ length: 10 }, (_, i) => `k${i}`);
      const leases = await Promise.all(keys.map((key) => one.acquire(key)));
      await Promise.all(leases.map((lease) => requests.run(lease.key, () => lease.release())));
      expect(new Map(told)).toEqual(new Map(keys.map((key) => [key, key])));
    });

    test("are what was asked for then, whatever becomes of the request meanwhile", async ({
      server,
      inService,
    }) => {
      const session = await inService(await server({ server: serverName }));
      const request = { key: "one", owner: ALICE, ttlMs: 5_000, proposal: proposal() };
      const first = session.acquire(request);
      request.key = "two";
      const second = session.acquire(request);
      request.key = "three";
      await Promise.all([first, second]);
      const locks = await Promise.all(["one", "two", "three"].map((key) => session.inspect(key)));
      expect(locks.map(({ lock }) => lock?.owner)).toEqual([ALICE, ALICE, undefined]);
    });

    test("travel as one call behind a turn that was a full call and one alone", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      await Promise.all(["w1", "w2", "w3", "w4"].map((key) => acquire(session, key)));
      await Promise.all(Array.from({ length: 65 }, (_, i) => acquire(session, `k${i}`)));
      await redisServer.cli("CONFIG", "RESETSTAT");
      await Promise.all(["a", "b"].map((key) => acquire(session, key)));
      expect(await scriptsRun(redisServer)).toBe(1);
    });

    test("are answered each for itself: granted, held, raised, extended, released and refused in one call", async ({
      server,
      inService,
    }) => {
      const session = await inService(await server({ server: serverName }));
      const fence = await grant(session, "mine");
      await grant(session, "theirs", { owner: BOB });
      // The first two of a quiet session travel alone.
      const [, , ...replies] = await Promise.all([
        acquire(session, "a"),
        acquire(session, "b"),
        acquire(session, "free"),
        acquire(session, "theirs"),
        session.raise({ key: "mine", owner: ALICE, fence, token: fence + 7n }),
        session.raise({ key: "theirs", owner: ALICE, fence, token: fence + 7n }),
        session.extend({ key: "mine", owner: ALICE, ttlMs: 1_500, token: fence + 9n, mayHeal: false }),
        session.extend({ key: "theirs", owner: ALICE, ttlMs: 1_500, token: 1n, mayHeal: true }),
        session.extend({ key: "gone", owner: ALICE, ttlMs: 1_500, token: fence, mayHeal: true }),
        session.release("theirs", BOB),
        session.release("theirs", BOB),
      ]);
      expect(replies.map((reply) => (typeof reply === "string" ? reply : reply.kind))).toEqual([
        "granted",
        "held",
        "raised",
        "refused",
        "extended",
        "not-owner",
        "recreated",
        "released",
        "not-owner",
      ]);
      expect((await session.inspect("mine")).counter).toBe(fence + 9n);
      expect((await session.inspect("gone")).lock?.fence).toBe(fence);
      expect((await session.inspect("theirs")).lock).toBeUndefined();
    });

    test("fail each for itself: a foreign value under one key leaves the others granted", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      await redisServer.cli("RPUSH", "{ql:list}:l", "a");
      await redisServer.cli("SET", "{ql:text}:l", "hello");
      await redisServer.cli("SET", "{ql:count}:f", "many\nlines");
      // The first two of a quiet session travel alone.
      const [, , first, list, text, count, last] = ["a", "b", "first", "list", "text", "count", "last"].map(
        (key) => acquire(session, key),
      );
      if (list === undefined || text === undefined || count === undefined) throw new Error("no promise");
      await Promise.all([
        expectFault(list, "BACKEND_WRONG_TYPE"),
        expectFault(text, "BACKEND_WRONG_TYPE"),
        expectFault(count, "BACKEND_COUNTER_BROKEN", /many/),
      ]);
      expect((await first)?.kind).toBe("granted");
      expect((await last)?.kind).toBe("granted");
      expect(await redisServer.cli("GET", "{ql:text}:l")).toBe("hello");
    });

    test("fail each for itself, of whatever kind: what follows one that failed is given its own arguments", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      const fence = await grant(session, "mine");
      const foreign = Array.from({ length: 6 }, (_, i) => `list${i}`);
      for (const key of foreign) await redisServer.cli("RPUSH", `{ql:${key}}:l`, "a");
      const token = fence + 7n;
      const ticket = (id: number) => ({ id: `${id}`, since: 1n, waitsMs: 1_000 });
      const request = { ttlMs: 1_500, proposal: proposal() };
      const good: Promise<unknown>[] = [acquire(session, "a"), acquire(session, "b")];
      const bad: Promise<unknown>[] = [];
      const wrong: ((key: string) => Promise<unknown>)[] = [
        (key) => session.acquire({ key, owner: ALICE, ...request }),
        (key) => session.acquire({ key, owner: ALICE, ...request, ticket: ticket(1) }),
        (key) => session.raise({ key, owner: ALICE, fence, token }),
        (key) => session.extend({ key, owner: ALICE, ttlMs: 1_500, token, mayHeal: true }),
        (key) => session.release(key, ALICE),
        (key) => session.release(key, ALICE, ticket(2)),
      ];
      for (const [i, ask] of wrong.entries()) {
        bad.push(ask(foreign[i] ?? ""));
        good.push(session.acquire({ key: `k${i}`, owner: `${BOB}${i}`, ...request }));
      }
      good.push(session.raise({ key: "mine", owner: ALICE, fence, token }));
      await Promise.all(bad.map((each) => expectFault(each, "BACKEND_WRONG_TYPE")));
      expect(await Promise.all(good)).toMatchObject([
        ...Array.from({ length: 8 }, () => ({ kind: "granted" })),
        "raised",
      ]);
      for (const i of wrong.keys()) expect((await session.inspect(`k${i}`)).lock?.owner).toBe(`${BOB}${i}`);
      expect((await session.inspect("mine")).counter).toBe(token);
    });

    test("a master that was demoted: its client hears of it, and connects anew to where the next one may be", async ({
      server,
      stockClient,
      session,
    }) => {
      const demoted = await server({ server: serverName });
      const client = stockClient(demoted, { connectionName: "watched" });
      const opened = session(redis(client, { durable: true }));
      await putInService(opened);
      await grant(opened, "mine");
      const connections = async (): Promise<readonly string[]> =>
        String(await demoted.cli("CLIENT", "LIST"))
          .split("\n")
          .filter((line) => line.includes(" name=watched "))
          .map((line) => line.split(" ", 1)[0] ?? "");
      const before = await connections();
      await demoted.cli("REPLICAOF", "127.0.0.1", "1");
      // The first two of a quiet session travel alone: they ask for what needs no master.
      const [, , ...asked] = [
        acquire(opened, "mine"),
        acquire(opened, "mine"),
        ...Array.from({ length: 10 }, (_, i) => acquire(opened, `k${i}`)),
      ];
      await Promise.all(asked.map((one) => expectFault(one, "BACKEND_READONLY", /read-only replica/)));
      await eventually("another connection", 1_000, async () =>
        (await connections()).some((id) => !before.includes(id)),
      );
    });

    test("are told apart whatever an owner is called, line breaks and all", async ({ server, inService }) => {
      const session = await inService(await server({ server: serverName }));
      const owners = [ALICE, "two\nlines", "x\n\nx\n", `${BOB}\n`, "words and words", BOB];
      const keys = owners.map((_, i) => `k${i}`);
      const asked = { ttlMs: 1_500, proposal: proposal() };
      // The first two of a quiet session travel alone.
      const granted = await Promise.all(
        ["a", "b", ...keys].map((key, i) =>
          session.acquire({ ...asked, key, owner: owners[i - 2] ?? ALICE }),
        ),
      );
      expect(new Set(granted.map(({ kind }) => kind))).toEqual(new Set(["granted"]));
      const found = await Promise.all(keys.map((key) => session.inspect(key)));
      expect(found.map(({ lock }) => lock?.owner)).toEqual(owners);
      const released = await Promise.all(keys.map((key, i) => session.release(key, owners[i] ?? "")));
      expect(released).toEqual(keys.map(() => "released"));
    });

    test("of a server without memory left: those that write fail, a release among them works", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      await grant(session, "mine");
      await redisServer.cli("CONFIG", "SET", "maxmemory", "1");
      const [one, two, release] = [
        acquire(session, "one"),
        acquire(session, "two"),
        session.release("mine", ALICE),
      ];
      await Promise.all([
        expectFault(one, "BACKEND_OUT_OF_MEMORY"),
        expectFault(two, "BACKEND_OUT_OF_MEMORY"),
      ]);
      expect(await release).toBe("released");
      await redisServer.cli("CONFIG", "SET", "maxmemory", "0");
    });
  });
}

await describeWithServer("redis-7", "operations of one turn", () => {
  describe("and their order", () => {
    test("a release that is asked for right behind its acquire leaves no lock", async ({
      server,
      inService,
    }) => {
      const session = await inService(await server());
      for (let round = 0; round < 20; round++) {
        const granted = acquire(session, "k");
        const released = session.release("k", ALICE);
        expect((await granted).kind).toBe("granted");
        expect(await released).toBe("released");
        expect((await session.inspect("k")).lock).toBeUndefined();
      }
    });

    test("what is sent by itself does not overtake what was asked for before", async ({
      server,
      inService,
    }) => {
      const session = await inService(await server());
      const granted = [acquire(session, "k"), acquire(session, "l")];
      const found = session.inspect("l");
      await Promise.all(granted);
      expect((await found).lock?.owner).toBe(ALICE);
    });

    test("what was asked for in the turn of the close is sent before the connection ends", async ({
      server,
      inService,
      stockClient,
      session,
    }) => {
      const redisServer = await server();
      const observer = await inService(redisServer);
      await grant(observer, "k");
      // The server has the script of a release from then on.
      await observer.release("k", BOB);
      // Its connection is a duplicate, which ends with the session.
      const closing = session(redis(stockClient(redisServer)));
      await closing.status();
      const released = closing.release("k", ALICE).catch(() => "no answer any more");
      await closing.close();
      expect(["released", "no answer any more"]).toContain(await released);
      await eventually(
        "released, long before its TTL",
        500,
        async () => (await observer.inspect("k")).lock === undefined,
      );
    });
  });

  test("meet another mark together: releases act, the others learn it and go on", async ({
    server,
    inService,
  }) => {
    const redisServer = await server();
    const session = await inService(redisServer);
    await grant(session, "mine");
    const other = await inService(redisServer);
    await other.quarantine();
    const [first, second, release] = await Promise.all([
      acquire(session, "first"),
      acquire(session, "second"),
      session.release("mine", ALICE),
    ]);
    expect([first.kind, second.kind, release]).toEqual(["quarantined", "quarantined", "released"]);
  });

  test("reach a server that lost its scripts", async ({ server, inService }) => {
    const redisServer = await server();
    const session = await inService(redisServer);
    for (let round = 0; round < 3; round++) {
      await redisServer.cli("SCRIPT", "FLUSH");
      const replies = await Promise.all(["a", "b", "c"].map((key) => acquire(session, `${key}${round}`)));
      expect(replies.map(({ kind }) => kind)).toEqual(["granted", "granted", "granted"]);
    }
  });

  test("all fail when their server dies, each with a fault of its own kind, and recover with it", async ({
    server,
    inService,
  }) => {
    const redisServer = await server();
    const session = await inService(redisServer, { durable: false });
    await redisServer.freeze();
    const asked = Array.from({ length: 20 }, (_, i) => acquire(session, `k${i}`));
    // Rejections are looked at below, after the server has died.
    const settled = Promise.allSettled(asked);
    await redisServer.kill();
    for (const outcome of await settled) {
      expect(outcome.status).toBe("rejected");
      if (outcome.status === "rejected")
        expect(outcome.reason).toMatchObject({ code: "BACKEND_DISCONNECTED" });
    }
    await redisServer.restart({ empty: true });
    await eventually("answered", 2_000, async () => (await session.status()).kind === "quarantined");
    const again = await Promise.all(
      Array.from({ length: 3 }, (_, i) =>
        session.acquire({ key: `n${i}`, owner: ALICE, ttlMs: 1_500, proposal: proposal() }),
      ),
    );
    expect(new Set(again.map(({ kind }) => kind))).toEqual(new Set(["quarantined"]));
  });
});
