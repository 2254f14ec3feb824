/** What is asked for in one turn of the event loop travels as one statement, and each operation fares as it would alone. */
import pg from "pg";
import { expect } from "vitest";
import { postgres } from "../../src/adapters/postgres.js";
import type { AcquireReply, BackendSession } from "../../src/backend.js";
import { expectTurnsAsSingles } from "../conformance/turns.ts";
import {
  acquire,
  ALICE,
  BOB,
  checkFault,
  eventually,
  expectFault,
  grant,
  proposal,
  timed,
} from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningSql } from "../servers/sql-server.mjs";
import { test as postgresTest } from "./kit.ts";

/** A session whose statements are counted. */
interface Counted {
  readonly session: BackendSession;
  /** The names of the statements since the last call, each with how often. */
  readonly sent: () => Readonly<Record<string, number>>;
}

const test = postgresTest.extend<{
  counted: (server: RunningSql, connectionsMax?: number) => Promise<Counted>;
}>({
  counted: async ({ pool, session }, use) => {
    await use(async (server, connectionsMax = 4) => {
      let names: string[] = [];
      class Client extends pg.Client {
        override query(...args: unknown[]): never {
          const [asked] = args as [{ readonly name?: string } | undefined];
          const name = /^quorum-lock (\S+)/.exec(asked?.name ?? "")?.[1];
          if (name !== undefined) names.push(name);
          return Reflect.apply(super.query, this, args) as never;
        }
      }
      const opened = session(postgres(pool(server, { Client } as pg.PoolConfig), { connectionsMax }));
      const { identity } = await opened.status();
      await opened.bootstrap(identity.incarnation);
      await grant(opened, "warm");
      names = [];
      return {
        session: opened,
        sent() {
          const counts: Record<string, number> = {};
          for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
          names = [];
          return counts;
        },
      };
    });
  },
});

const OTHERS_MS = 300;

await describeWithServer("postgres", "operations of one turn", () => {
  test("travel as one statement for each kind, a bounded number in each; one alone as ever", async ({
    postgresServer,
    counted,
  }) => {
    const { session, sent } = await counted(await postgresServer());
    const keys = Array.from({ length: 250 }, (_, i) => `k${i}`);
    const fences = await Promise.all(keys.map((key) => grant(session, key)));
    expect(sent()).toEqual({ "acquire-many": 2 });
    const token = fences.reduce((a, b) => (a > b ? a : b)) + 7n;
    const asked = keys.map((key) => ({ key, owner: ALICE, ttlMs: 1_500, token, mayHeal: false }));
    const extended = await Promise.all(asked.map((each) => session.extend(each)));
    expect(new Set(extended.map(({ kind }) => kind))).toEqual(new Set(["extended"]));
    expect(sent()).toEqual({ "extend-many": 2 });
    expect((await session.inspect("k249")).counter).toBe(token);
    await grant(session, "alone");
    expect(sent()).toEqual({ inspect: 1, acquire: 1 });
    const released = await Promise.all(keys.map((key) => session.release(key, ALICE)));
    expect(new Set(released)).toEqual(new Set(["released"]));
    expect(sent()).toEqual({ "release-many": 2 });
    for (const key of ["k0", "k249"]) expect((await session.inspect(key)).lock).toBeUndefined();
  });

  test("are not taken for each other, whatever their keys look like", async ({ postgresServer, counted }) => {
    const { session, sent } = await counted(await postgresServer());
    // In hexadecimal digits, keys of one byte read like numbers: those of "1" are 31.
    const bytes = Array.from({ length: 90 }, (_, i) => String.fromCharCode(i + 1));
    const keys = [...Array.from({ length: 38 }, (_, i) => `k${i}`), ...bytes];
    for (const [i, key] of keys.entries()) if (i % 3 === 0) await grant(session, key, { owner: BOB });
    sent();
    const replies = await Promise.all(keys.map((key) => acquire(session, key)));
    expect(sent()).toEqual({ "acquire-many": 1 });
    for (const [i, reply] of replies.entries()) {
      const { lock } = await session.inspect(keys[i] ?? "");
      const fence = reply.kind === "granted" ? reply.fence : undefined;
      expect([keys[i], reply.kind, fence]).toEqual(
        i % 3 === 0 ? [keys[i], "held", undefined] : [keys[i], "granted", lock?.fence],
      );
    }
  });

  test("and what comes while all connections are busy goes with the next statement", async ({
    postgresServer,
    counted,
  }) => {
    const { session, sent } = await counted(await postgresServer(), 1);
    const answered: Promise<unknown>[] = [];
    for (let i = 0; i < 40; i++) {
      answered.push(acquire(session, `k${i}`));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(answered);
    const { acquire: alone = 0, "acquire-many": many = 0 } = sent();
    expect(alone + many).toBeLessThan(answered.length / 2);
  });

  test("are answered each for itself: granted, held, raised, extended, healed, released and refused", async ({
    postgresServer,
    ready,
  }) => {
    const session = await ready(await postgresServer());
    const fence = await grant(session, "mine");
    await grant(session, "theirs", { owner: BOB });
    const extend = (key: string, mayHeal: boolean): Promise<{ kind: string }> =>
      session.extend({ key, owner: ALICE, ttlMs: 1_500, token: fence + 9n, mayHeal });
    const replies = await Promise.all([
      acquire(session, "free"),
      acquire(session, "theirs"),
      acquire(session, "mine"),
      session.raise({ key: "mine", owner: ALICE, fence, token: fence + 7n }),
      session.raise({ key: "theirs", owner: ALICE, fence, token: fence + 7n }),
      extend("mine", false),
      extend("theirs", true),
      extend("gone", true),
      extend("missing", false),
      session.release("theirs", ALICE),
      session.release("nothing", ALICE),
    ]);
    expect(replies.map((reply) => (typeof reply === "string" ? reply : reply.kind))).toEqual([
      "granted",
      "held",
      "granted",
      "raised",
      "refused",
      "extended",
      "not-owner",
      "recreated",
      "not-owner",
      "not-owner",
      "not-owner",
    ]);
    expect(replies[2]).toMatchObject({ fence });
    expect((await session.inspect("mine")).counter).toBe(fence + 9n);
    expect((await session.inspect("gone")).lock?.fence).toBe(fence + 9n);
  });

  test("random turns are answered as their operations one behind the other", async ({
    postgresServer,
    ready,
  }) => {
    const session = await ready(await postgresServer(), { deployment: { maxTtlMs: 10_000 } });
    await expectTurnsAsSingles(session, { seconds: 6, isFirstServed: true });
  });

  test("64 who want one key: the first is granted it, the others are told held, by one statement", async ({
    postgresServer,
    counted,
  }) => {
    const { session, sent } = await counted(await postgresServer());
    const owners = Array.from({ length: 64 }, (_, i) => i.toString(16).padStart(32, "0"));
    const contend = (): Promise<string[]> =>
      Promise.all(owners.map(async (owner) => (await acquire(session, "k", { owner, ttlMs: 1_500 })).kind));
    expect(await contend()).toEqual(["granted", ...Array.from({ length: 63 }, () => "held")]);
    expect(await contend(), "the holder again").toEqual([
      "granted",
      ...Array.from({ length: 63 }, () => "held"),
    ]);
    expect(sent()).toEqual({ "acquire-many": 2 });
    const twice = await Promise.all([1, 2].map(() => grant(session, "twice")));
    expect(twice[0]).toBe(twice[1]);
    const held = await acquire(session, "twice", { owner: BOB });
    if (held.kind !== "held") throw new Error(held.kind);
    const released = await Promise.all([1, 2, 3].map(() => session.release("twice", ALICE)));
    expect(released.filter((reply) => reply === "released")).toHaveLength(1);
  });

  test("stand in line, each for its key, and are called when it is free; those whose key is free are granted it", async ({
    postgresServer,
    admin,
    ready,
  }) => {
    const server = await postgresServer();
    const [session, holder] = [await ready(server), await ready(server)];
    const called = new Set<string>();
    const stop = session.watch?.((ticket) => called.add(ticket));
    await Promise.all(["a", "b"].map((key) => grant(holder, key)));
    const waiting = (key: string, id: string): Promise<AcquireReply> => {
      const ticket = { id, since: 1n, waitsMs: 60_000 };
      return session.acquire({ key, owner: BOB, ttlMs: 1_500, proposal: proposal(), ticket });
    };
    const replies = await Promise.all([
      waiting("a", "1"),
      waiting("b", "2"),
      waiting("free", "3"),
      acquire(session, "a"),
      acquire(session, "also-free"),
    ]);
    expect(replies.map(({ kind }) => kind)).toEqual(["held", "held", "granted", "granted", "granted"]);
    const released = await Promise.all(["a", "b"].map((key) => holder.release(key, ALICE)));
    expect(released).toEqual(["released", "released"]);
    await eventually("both are called", 2_000, () => Promise.resolve(called.has("1") && called.has("2")));
    stop?.();
    const kept = await Promise.all(["a", "b"].map((key) => acquire(holder, key)));
    expect(kept.map((reply) => "reserved" in reply && reply.reserved)).toEqual([true, true]);
    const turns = await Promise.all([waiting("a", "1"), waiting("b", "2")]);
    expect(turns.map(({ kind }) => kind)).toEqual(["granted", "granted"]);
    // Who is granted a key that nobody released stands in its line no more, either.
    for (const key of ["x", "y"]) await grant(holder, key, { ttlMs: 300 });
    await Promise.all([waiting("x", "4"), waiting("y", "5")]);
    await eventually("both locks have ended", 2_000, async () => {
      const again = await Promise.all([waiting("x", "4"), waiting("y", "5")]);
      return again.every(({ kind }) => kind === "granted");
    });
    const { rows } = await (await admin(server)).query("SELECT FROM quorum_lock WHERE line IS NOT NULL");
    expect(rows).toEqual([]);
  });

  test("find their rows by the keys, however small the table was when the server made its plans", async ({
    postgresServer,
    admin,
    ready,
  }) => {
    const server = await postgresServer();
    const session = await ready(server);
    const client = await admin(server);
    await client.query("ANALYZE quorum_lock");
    const scans = async (): Promise<{ whole: number; by_key: number }> => {
      const { rows } = await client.query(
        "SELECT seq_scan::int AS whole, idx_scan::int AS by_key FROM pg_stat_user_tables WHERE relname = 'quorum_lock'",
      );
      return (rows as { whole: number; by_key: number }[])[0] ?? { whole: Number.NaN, by_key: Number.NaN };
    };
    const before = await scans();
    for (let round = 0; round < 10; round++) {
      const keys = ["a", "b"].map((key) => `${key}${round}`);
      const fences = await Promise.all(keys.map((key) => grant(session, key)));
      const token = fences.reduce((a, b) => (a > b ? a : b));
      const asked = keys.map((key) => ({ key, owner: ALICE, ttlMs: 1_500, token, mayHeal: false }));
      await Promise.all(asked.map((each) => session.extend(each)));
      await Promise.all(keys.map((key) => session.release(key, ALICE)));
    }
    let after = before;
    await eventually("the server has counted them", 5_000, async () => {
      // A connection tells what it did when it does something more than a second later.
      await session.inspect("a0");
      after = await scans();
      return after.by_key >= before.by_key + 60;
    });
    expect(after.whole).toBe(before.whole);
  });

  test("are sent when they were asked for in the turn of the close", async ({ postgresServer, ready }) => {
    const server = await postgresServer();
    const [session, observer] = [await ready(server), await ready(server)];
    for (const key of ["k", "l"]) await grant(session, key);
    const released = ["k", "l"].map((key) => session.release(key, ALICE));
    await session.close();
    expect(await Promise.all(released)).toEqual(["released", "released"]);
    for (const key of ["k", "l"]) expect((await observer.inspect(key)).lock).toBeUndefined();
  });

  test("on a table without a line, of an earlier release: all as ever, each by itself", async ({
    postgresServer,
    admin,
    counted,
  }) => {
    const server = await postgresServer();
    const { session, sent } = await counted(server);
    await (await admin(server)).query("ALTER TABLE quorum_lock DROP COLUMN line");
    for (let round = 0; round < 2; round++) {
      const keys = ["a", "b", "c"].map((key) => `${key}${round}`);
      await Promise.all(keys.map((key) => grant(session, key)));
      const released = await Promise.all(keys.map((key) => session.release(key, ALICE)));
      expect(new Set(released)).toEqual(new Set(["released"]));
    }
    expect(sent()).toEqual({ "acquire-many": 1, acquire: 6, "release-only": 6 });
  });

  test("two processes on the same keys in opposite orders: no deadlock, each key to one of them", async ({
    postgresServer,
    counted,
  }) => {
    const server = await postgresServer(["-c", "deadlock_timeout=5ms"]);
    const [one, other] = [await counted(server), await counted(server)];
    const keys = Array.from({ length: 100 }, (_, i) => `k${i}`);
    for (let round = 0; round < 30; round++) {
      const fresh = keys.map((key) => `${round % 3}:${key}`);
      const [forth, back] = await Promise.all([
        Promise.all(fresh.map(async (key) => (await acquire(one.session, key)).kind)),
        Promise.all(
          fresh.toReversed().map(async (key) => (await acquire(other.session, key, { owner: BOB })).kind),
        ),
      ]);
      const granted = forth.map(
        (kind, i) => [kind, back.at(-1 - i)].filter((each) => each === "granted").length,
      );
      expect(new Set(granted)).toEqual(new Set([1]));
      const extend = (session: BackendSession, key: string, owner: string): Promise<unknown> =>
        session.extend({ key, owner, ttlMs: 1_500, token: 1n, mayHeal: false });
      // The same rows by both, though each owns some of them only.
      await Promise.all([
        ...fresh.flatMap((key) => [ALICE, BOB].map((owner) => extend(one.session, key, owner))),
        ...fresh
          .toReversed()
          .flatMap((key) => [ALICE, BOB].map((owner) => extend(other.session, key, owner))),
      ]);
      await Promise.all([
        ...fresh.map((key) => one.session.release(key, ALICE)),
        ...fresh.toReversed().map((key) => other.session.release(key, ALICE)),
        ...fresh.map((key) => other.session.release(key, BOB)),
        ...fresh.toReversed().map((key) => one.session.release(key, BOB)),
      ]);
    }
    expect(server.log()).not.toContain("deadlock detected");
  });
});

await describeWithServer("postgres", "a failure among the operations of one turn", () => {
  test("stays with its own: a damaged row, an owner that is no text, a token that is no number of the server", async ({
    postgresServer,
    admin,
    counted,
  }) => {
    const server = await postgresServer();
    const { session, sent } = await counted(server);
    const client = await admin(server);
    const fence = await grant(session, "held");
    await grant(session, "damaged", { owner: BOB });
    await client.query("UPDATE quorum_lock SET expires_at = 'infinity' WHERE key = 'damaged'");
    sent();
    const [first, damaged, nul, last] = ["first", "damaged", "nul", "last"].map((key) =>
      acquire(session, key, key === "nul" ? { owner: "\0" } : {}),
    ) as [ReturnType<typeof acquire>, Promise<unknown>, Promise<unknown>, ReturnType<typeof acquire>];
    const asked = { key: "held", owner: ALICE, ttlMs: 1_500, mayHeal: false };
    const tooLarge = session.extend({ ...asked, token: 1n << 70n });
    const beside = session.extend({ ...asked, key: "held-too", token: fence });
    await Promise.all([
      expectFault(damaged, "BACKEND_REFUSED", /infinit/),
      expectFault(nul, "BACKEND_REFUSED", /0x00/),
      expectFault(tooLarge, "BACKEND_REFUSED", /out of range/),
    ]);
    expect([(await first).kind, (await last).kind, (await beside).kind]).toEqual([
      "granted",
      "granted",
      "not-owner",
    ]);
    expect(sent(), "together, then each by itself").toEqual({
      "acquire-many": 1,
      acquire: 4,
      "extend-many": expect.any(Number) as number,
      extend: expect.any(Number) as number,
    });
    expect((await session.inspect("nul")).counter).toBe(0n);
  });

  test("stays with its own: a row that somebody else's transaction holds delays the others by no more than a moment", async ({
    postgresServer,
    admin,
    ready,
  }) => {
    const server = await postgresServer();
    const session = await ready(server);
    const client = await admin(server);
    for (const key of ["stuck", "mine", "his"]) await grant(session, key, { ttlMs: 1_900 });
    await session.release("stuck", ALICE);
    await client.query("BEGIN");
    await client.query("SELECT * FROM quorum_lock WHERE key IN ('stuck', 'his') FOR UPDATE");
    const stuck = [timed(acquire(session, "stuck")), timed(session.release("his", ALICE))];
    const others = await Promise.all([
      timed(acquire(session, "a")),
      timed(acquire(session, "z")),
      timed(session.release("mine", ALICE)),
    ]);
    expect(others.map(({ value }) => (typeof value === "string" ? value : value?.kind))).toEqual([
      "granted",
      "granted",
      "released",
    ]);
    for (const { ms } of others) expect(ms).toBeLessThan(OTHERS_MS);
    for (const { error } of await Promise.all(stuck)) checkFault(error, "BACKEND_BUSY", /55P03/);
    await client.query("ROLLBACK");
  });

  test("a server that dies in the middle of it: each gets its fault, none hangs; it goes on when the server is back", async ({
    postgresServer,
    ready,
  }) => {
    const server = await postgresServer();
    const session = await ready(server);
    await Promise.all(["a", "b", "c"].map((key) => grant(session, key)));
    await server.freeze();
    const asked = Array.from({ length: 300 }, (_, i) => timed(acquire(session, `k${i}`)));
    const released = ["a", "b", "c"].map((key) => timed(session.release(key, ALICE)));
    await new Promise((resolve) => setImmediate(resolve));
    await server.kill();
    for (const { error, ms } of [...(await Promise.all(asked)), ...(await Promise.all(released))]) {
      expect(error).toMatchObject({
        code: expect.stringMatching(/^BACKEND_(DISCONNECTED|NOT_CONNECTED|TIMEOUT|SILENT)$/) as unknown,
      });
      expect(ms).toBeLessThan(2_500);
    }
    await server.restart("kept");
    await eventually("it answers", 3_000, () => session.status());
    const kinds = await Promise.all(
      Array.from({ length: 5 }, async (_, i) => {
        const asking = session.acquire({ key: `n${i}`, owner: ALICE, ttlMs: 1_500, proposal: proposal() });
        return (await asking).kind;
      }),
    );
    expect(new Set(kinds)).toEqual(new Set(["granted"]));
  });

  test("another mark: releases act, the others learn it and go on; no table: nothing is held", async ({
    postgresServer,
    admin,
    ready,
  }) => {
    const server = await postgresServer();
    const session = await ready(server);
    const client = await admin(server);
    await grant(session, "mine");
    await (await ready(server)).quarantine();
    const [one, two, release] = await Promise.all([
      acquire(session, "one"),
      acquire(session, "two"),
      session.release("mine", ALICE),
    ]);
    expect([one.kind, two.kind, release]).toEqual(["quarantined", "quarantined", "released"]);
    await client.query("DROP TABLE quorum_lock");
    const gone = await Promise.all([
      acquire(session, "one").then(({ kind }) => kind),
      acquire(session, "two").then(({ kind }) => kind),
      session.release("mine", ALICE),
      session.release("other", ALICE),
    ]);
    expect(gone).toEqual(["quarantined", "quarantined", "not-owner", "not-owner"]);
  });
});
