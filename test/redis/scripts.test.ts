/** The scripts against real servers: their cache, atomicity under contention, odd keys, and values that are not ours. */
import { describe, expect } from "vitest";
import { redis } from "../../src/adapters/redis.js";
import type { BackendSession } from "../../src/backend.js";
import { describeWithServer } from "../servers/needs.ts";
import {
  acquire,
  ALICE,
  BOB,
  eventually,
  expectFault,
  grant,
  proposal,
  putInService,
  SERVERS,
  test,
} from "./kit.ts";

const CONTENDERS = 64;

for (const name of SERVERS) {
  await describeWithServer(name, "the scripts", (serverName) => {
    describe("and the script cache", () => {
      test("every operation works after SCRIPT FLUSH", async ({ server, inService }) => {
        const redisServer = await server({ server: serverName });
        const session = await inService(redisServer);
        const flush = async (): Promise<unknown> => redisServer.cli("SCRIPT", "FLUSH");
        await flush();
        const fence = await grant(session, "k");
        await flush();
        expect(await session.raise({ key: "k", owner: ALICE, fence, token: fence + 5n })).toBe("raised");
        await flush();
        const extended = await session.extend({
          key: "k",
          owner: ALICE,
          ttlMs: 1_500,
          token: fence + 5n,
          mayHeal: false,
        });
        expect(extended.kind).toBe("extended");
        await flush();
        expect((await session.inspect("k")).counter).toBe(fence + 5n);
        await flush();
        expect(await session.release("k", ALICE)).toBe("released");
        await flush();
        expect(await session.forceRelease("k")).toBe(false);
        await flush();
        const { identity } = await session.status();
        await flush();
        await session.join(identity.incarnation);
        await flush();
        await session.bootstrap(identity.incarnation);
        expect((await session.status()).kind).toBe("in-service");
      });

      test("64 contenders right after SCRIPT FLUSH get exactly one grant", async ({ server, inService }) => {
        const redisServer = await server({ server: serverName });
        const session = await inService(redisServer);
        await redisServer.cli("SCRIPT", "FLUSH");
        expect(await contend([session], "k")).toEqual({ granted: 1, held: CONTENDERS - 1 });
      });

      test("a restarted server has no scripts, and gets them", async ({ server, inService }) => {
        const redisServer = await server({ server: serverName, appendOnly: "always" });
        const session = await inService(redisServer, { durable: true });
        const fence = await grant(session, "k", { ttlMs: 2_000 });
        await redisServer.restart({ empty: false });
        await eventually("extended after the restart", 1_500, async () =>
          expect(
            (await session.extend({ key: "k", owner: ALICE, ttlMs: 2_000, token: fence, mayHeal: false }))
              .kind,
          ).toBe("extended"),
        );
      });
    });

    test("64 contenders over one connection get exactly one grant, again and again", async ({
      server,
      inService,
    }) => {
      const session = await inService(await server({ server: serverName }));
      for (let round = 0; round < 20; round++) {
        expect(await contend([session], `k${round}`)).toEqual({ granted: 1, held: CONTENDERS - 1 });
      }
    });

    test("64 contenders over 8 connections get exactly one grant, and fences grow", async ({
      server,
      client,
      session,
    }) => {
      const redisServer = await server({ server: serverName });
      const sessions = Array.from({ length: 8 }, () => session(redis(client(redisServer))));
      const [first] = sessions;
      if (first === undefined) throw new Error("no session");
      await putInService(first);
      let last = 0n;
      for (let round = 0; round < 20; round++) {
        expect(await contend(sessions, "k")).toEqual({ granted: 1, held: CONTENDERS - 1 });
        const { lock, counter } = await first.inspect("k");
        expect(lock?.fence).toBe(counter);
        expect(counter).toBeGreaterThan(last);
        last = counter;
        expect(await first.forceRelease("k")).toBe(true);
      }
    });
  });
}

for (const name of SERVERS) {
  await describeWithServer(name, "a lock and its line", (serverName) => {
    const LOCK = "{ql:k}:l";
    /** Tries with a ticket, in one call with others; tells the kind of the reply. */
    async function waits(session: BackendSession, owner: string, id: string): Promise<string> {
      const asked = {
        ttlMs: 1_500,
        proposal: proposal(),
        ticket: { id, since: BigInt(id), waitsMs: 60_000 },
      };
      return (await amongOthers(session, () => session.acquire({ key: "k", owner, ...asked }))).kind;
    }

    /** The first two of a quiet session travel alone. */
    async function amongOthers<T>(session: BackendSession, ask: () => Promise<T>): Promise<T> {
      const before = ["a", "b"].map((key) => acquire(session, key));
      const asked = ask();
      await Promise.all([...before, acquire(session, "c")]);
      return asked;
    }

    test("a release looks at no line where nobody came while the lock was held", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      const keys = Array.from({ length: 10 }, (_, i) => `k${i}`);
      for (const key of keys) await grant(session, key);
      expect((await acquire(session, "k0", { owner: BOB })).kind).toBe("held");
      await redisServer.cli("CONFIG", "RESETSTAT");
      for (const key of keys) expect(await session.release(key, ALICE)).toBe("released");
      const together = keys.map((key) => grant(session, key));
      await Promise.all(together);
      await Promise.all(keys.map((key) => session.release(key, ALICE)));
      const stats = String(await redisServer.cli("INFO", "commandstats"));
      expect(stats).toContain("cmdstat_del:calls=20,");
      expect(stats).not.toContain("cmdstat_z");
    });

    test("who stands in line is told of in the lock, which stays the same lock to everybody, and as long", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      const fence = await grant(session, "k", { ttlMs: 1_000 });
      for (const id of ["11", "12"]) {
        expect(await waits(session, BOB, id)).toBe("held");
        expect(await redisServer.cli("GET", LOCK)).toBe(`${ALICE}|0${fence}`);
      }
      const left = Number(await redisServer.cli("PTTL", LOCK));
      expect(left > 0 && left <= 1_000, `${left} ms left`).toBe(true);
      expect((await session.inspect("k")).lock).toMatchObject({ owner: ALICE, fence });
      expect(await acquire(session, "k")).toMatchObject({ kind: "granted", fence });
      const raise = { key: "k", token: fence + 1n };
      expect(await session.raise({ ...raise, owner: ALICE, fence })).toBe("raised");
      expect(await session.raise({ ...raise, owner: ALICE, fence: fence + 1n })).toBe("refused");
      expect(await session.raise({ ...raise, owner: BOB, fence })).toBe("refused");
      const extend = { key: "k", ttlMs: 1_500, token: fence + 1n, mayHeal: false };
      expect((await session.extend({ ...extend, owner: ALICE })).kind).toBe("extended");
      expect((await session.extend({ ...extend, owner: BOB })).kind).toBe("not-owner");
      expect(await session.release("k", BOB)).toBe("not-owner");
      expect(await session.release("k", ALICE)).toBe("released");
      expect(String(await redisServer.cli("GET", LOCK))).toMatch(/^r\|11\|/);
    });

    test("the next one is called by the release of whoever was called, alone or with others in a call", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      for (const how of [amongOthers, (_: unknown, ask: () => Promise<string>) => ask()]) {
        await grant(session, "k");
        for (const id of ["11", "12"]) await waits(session, id, id);
        const release = async (owner: string): Promise<void> =>
          expect(await how(session, () => session.release("k", owner))).toBe("released");
        await release(ALICE);
        expect(String(await redisServer.cli("GET", LOCK))).toMatch(/^r\|11\|/);
        expect(await waits(session, "11", "11")).toBe("granted");
        await release("11");
        expect(String(await redisServer.cli("GET", LOCK))).toMatch(/^r\|12\|/);
        expect(await waits(session, "12", "12")).toBe("granted");
        await release("12");
        expect(await redisServer.cli("EXISTS", LOCK, "{ql:k}:w")).toBe(0);
      }
    });

    test("whoever stands in line while a lock ends is called by the release of what is healed, and of what was taken meanwhile once it asked again", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      const heal = { key: "k", owner: ALICE, ttlMs: 1_500, mayHeal: true };
      const again = [
        async (token: bigint) =>
          expect((await session.extend({ ...heal, token })).kind, "healed").toBe("recreated"),
        async () => {
          await grant(session, "k");
          expect(await waits(session, BOB, "11")).toBe("held");
        },
      ];
      for (const take of again) {
        const fence = await grant(session, "k");
        expect(await waits(session, BOB, "11")).toBe("held");
        // As an expiry does.
        await redisServer.cli("DEL", LOCK);
        await take(fence);
        expect(await session.release("k", ALICE)).toBe("released");
        expect(String(await redisServer.cli("GET", LOCK))).toMatch(/^r\|11\|/);
        await redisServer.cli("DEL", LOCK, "{ql:k}:w");
      }
    });

    test("a value that is no lock is not written to for whoever would wait, and neither is a reservation", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      await redisServer.cli("SET", LOCK, "hello|12 or so");
      await expectFault(waits(session, BOB, "11"), "BACKEND_WRONG_TYPE");
      expect(await redisServer.cli("GET", LOCK)).toBe("hello|12 or so");
      const kept = "r|77|ql:i:00|0";
      await redisServer.cli("SET", LOCK, kept);
      expect(await waits(session, BOB, "11")).toBe("held");
      expect(await redisServer.cli("GET", LOCK)).toBe(kept);
    });
  });
}

await describeWithServer("redis-7", "the keys", () => {
  test("odd keys are locks of their own", async ({ server, inService }) => {
    const session = await inService(await server());
    const keys = [
      "}",
      "{",
      "}{",
      "{}",
      "a}:l",
      "a",
      ":l",
      ":mark",
      "mark",
      "\0",
      "\r\n",
      " ",
      "ключ",
      "🔒",
      "a|b",
      "%d",
      "*",
      "x".repeat(512),
    ];
    const fences = new Map<string, bigint>();
    for (const key of keys) fences.set(key, await grant(session, key));
    for (const [key, fence] of fences) {
      expect((await acquire(session, key, { owner: BOB })).kind, JSON.stringify(key)).toBe("held");
      const { lock } = await session.inspect(key);
      expect([lock?.owner, lock?.fence]).toEqual([ALICE, fence]);
    }
    for (const key of keys) expect(await session.release(key, ALICE)).toBe("released");
  });

  test("two prefixes on one server do not see each other, and neither do two databases", async ({
    server,
    inService,
  }) => {
    const redisServer = await server();
    const sessions = [
      await inService(redisServer, { prefix: "one" }),
      await inService(redisServer, { prefix: "two" }),
      await inService(redisServer, { client: { db: 3 } }),
      await inService(redisServer, { client: { keyPrefix: "app:" } }),
    ];
    for (const session of sessions) await grant(session, "k");
    const ids = await Promise.all(
      sessions.map(async (session) => (await session.status()).identity.serverId),
    );
    expect(new Set(ids).size).toBe(1);
    expect(await redisServer.cli("EXISTS", "{one:k}:l", "{two:k}:l", "app:{ql:k}:l", "app:ql:mark")).toBe(4);
  });

  test("every key but the mark expires, and the mark is one key", async ({ server, inService }) => {
    const redisServer = await server();
    const session = await inService(redisServer, { deployment: { tokenRetentionMs: 5_000 } });
    for (const key of ["a", "b"]) await grant(session, key);
    await session.release("b", ALICE);
    const keys = (await redisServer.cli("KEYS", "*")) as string[];
    expect(keys.toSorted()).toEqual(["ql:mark", "{ql:a}:f", "{ql:a}:l", "{ql:b}:f"]);
    for (const key of keys) {
      const left = Number(await redisServer.cli("PTTL", key));
      if (key === "ql:mark") expect(left).toBe(-1);
      else expect(left).toBeGreaterThan(0);
      if (key.endsWith(":f")) expect(left).toBeGreaterThan(4_000);
    }
  });
});

await describeWithServer("redis-7", "values that are not ours", () => {
  const set = ["SET", "RPUSH", "HSET"] as const;
  for (const command of set) {
    test(`a ${command} under the lock key is told, and kept`, async ({ server, inService }) => {
      const redisServer = await server();
      const session = await inService(redisServer);
      const value = command === "HSET" ? ["field", "value"] : ["value"];
      await redisServer.cli(command, "{ql:k}:l", ...value);
      const before = await redisServer.cli("DUMP", "{ql:k}:l");
      const words = /something else/;
      await expectFault(acquire(session, "k"), "BACKEND_WRONG_TYPE", words);
      await expectFault(session.inspect("k"), "BACKEND_WRONG_TYPE", words);
      await expectFault(session.forceRelease("k"), "BACKEND_WRONG_TYPE", words);
      if (command !== "SET") await expectFault(session.release("k", ALICE), "BACKEND_WRONG_TYPE", words);
      else expect(await session.release("k", ALICE)).toBe("not-owner");
      expect(await redisServer.cli("DUMP", "{ql:k}:l")).toBe(before);
      expect(await redisServer.cli("PTTL", "{ql:k}:l")).toBe(-1);
      expect(await redisServer.cli("EXISTS", "{ql:k}:f")).toBe(0);
    });
  }

  for (const command of ["RPUSH", "HSET"] as const) {
    test(`a ${command} under the counter key is told, and kept, and no lock is left`, async ({
      server,
      inService,
    }) => {
      const redisServer = await server();
      const session = await inService(redisServer);
      await redisServer.cli(command, "{ql:k}:f", ...(command === "HSET" ? ["field", "value"] : ["value"]));
      const before = await redisServer.cli("DUMP", "{ql:k}:f");
      await expectFault(acquire(session, "k"), "BACKEND_WRONG_TYPE", /something else/);
      expect(await redisServer.cli("DUMP", "{ql:k}:f")).toBe(before);
      expect(await redisServer.cli("PTTL", "{ql:k}:f")).toBe(-1);
      expect(await redisServer.cli("EXISTS", "{ql:k}:l")).toBe(0);
    });
  }

  const HUGE = ["9007199254740990", "9007199254740991", "99999999999999999999999999"];
  for (const counter of ["0x10", "abc", "", " 5", "-1", "1e3", "1.5", "nan", ...HUGE]) {
    test(`a counter of ${JSON.stringify(counter)} is told, and neither changed nor counted on`, async ({
      server,
      inService,
    }) => {
      const redisServer = await server();
      const session = await inService(redisServer);
      await redisServer.cli("SET", "{ql:k}:f", counter);
      for (let times = 0; times < 2; times++) {
        await expectFault(acquire(session, "k"), "BACKEND_COUNTER_BROKEN", /counter of key "k"/);
      }
      expect(await redisServer.cli("GET", "{ql:k}:f")).toBe(counter);
      expect(await redisServer.cli("EXISTS", "{ql:k}:l")).toBe(0);
      const isOurs = HUGE.includes(counter);
      expect(Number(await redisServer.cli("PTTL", "{ql:k}:f")) > 0, "expires").toBe(isOurs);
    });
  }

  test("a counter that broke under a lock fails raise and extend, and the lock is as it was", async ({
    server,
    inService,
  }) => {
    const redisServer = await server();
    const session = await inService(redisServer);
    const fence = await grant(session, "k", { ttlMs: 1_000 });
    await redisServer.cli("SET", "{ql:k}:f", "0x10");
    const extend = { key: "k", owner: ALICE, ttlMs: 1_900, token: fence };
    await expectFault(session.extend({ ...extend, mayHeal: true }), "BACKEND_COUNTER_BROKEN");
    await expectFault(
      session.raise({ key: "k", owner: ALICE, fence, token: fence + 1n }),
      "BACKEND_COUNTER_BROKEN",
    );
    await expectFault(session.inspect("k"), "BACKEND_COUNTER_BROKEN");
    expect(Number(await redisServer.cli("PTTL", "{ql:k}:l"))).toBeLessThanOrEqual(1_000);
    expect(await session.release("k", ALICE)).toBe("released");
    expect(await redisServer.cli("GET", "{ql:k}:f")).toBe("0x10");
    await expectFault(session.extend({ ...extend, mayHeal: true }), "BACKEND_COUNTER_BROKEN");
    expect(await redisServer.cli("EXISTS", "{ql:k}:l"), "no lock without a counter").toBe(0);
  });

  test("the last fence that may be counted is 2^53 - 2, and no token comes twice", async ({
    server,
    inService,
  }) => {
    const redisServer = await server();
    const session = await inService(redisServer);
    await redisServer.cli("SET", "{ql:k}:f", "9007199254740989");
    expect(await grant(session, "k")).toBe(9007199254740990n);
    await session.release("k", ALICE);
    await expectFault(acquire(session, "k"), "BACKEND_COUNTER_BROKEN");
  });

  for (const mark of ["hello", "ql1 x 3 2", "ql2 a 3 2 2000 0 0", ""]) {
    test(`a mark of ${JSON.stringify(mark)} is told, and kept`, async ({
      server,
      inService,
      session,
      client,
    }) => {
      const redisServer = await server();
      await inService(redisServer);
      await redisServer.cli("SET", "ql:mark", mark);
      const late = session(redis(client(redisServer)));
      await expectFault(
        acquire(late, "k"),
        "BACKEND_MARK_MISMATCH",
        /mark, the key ql:mark, has another format/,
      );
      await expectFault(late.status(), "BACKEND_MARK_MISMATCH");
      expect(await redisServer.cli("GET", "ql:mark")).toBe(mark);
      expect(await redisServer.cli("DBSIZE")).toBe(1);
    });
  }

  test("a list under the mark's key is told, and kept", async ({ server, session, client }) => {
    const redisServer = await server();
    await redisServer.cli("RPUSH", "ql:mark", "a");
    const opened = session(redis(client(redisServer)));
    await expectFault(acquire(opened, "k"), "BACKEND_WRONG_TYPE", /something else/);
    expect(await redisServer.cli("LLEN", "ql:mark")).toBe(1);
  });
});

/** 64 owners at once; what they got. */
async function contend(
  sessions: readonly { acquire: Parameters<typeof acquire>[0]["acquire"] }[],
  key: string,
): Promise<Record<string, number>> {
  const replies = await Promise.all(
    Array.from({ length: CONTENDERS }, (_, index) => {
      const session = sessions[index % sessions.length];
      if (session === undefined) throw new Error("no session");
      return session.acquire({
        key,
        owner: index.toString(16).padStart(32, "0"),
        ttlMs: 2_000,
        proposal: proposal(),
      });
    }),
  );
  const counts: Record<string, number> = {};
  for (const { kind } of replies) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
