/** A locker over PostgreSQL: one server as a quorum of one, beside other code, whatever the database's defaults are. */
import pg from "pg";
import { expect } from "vitest";
import { postgres } from "../../src/adapters/postgres.js";
import { LockHeldError } from "../../src/errors.js";
import { acquire, ALICE, BOB, eventually, figure, grant, putInService } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { test } from "./kit.ts";

const CONTENDERS = 64;

await describeWithServer("postgres", "a locker over one PostgreSQL", () => {
  test("acquires, extends, hands over and releases; a kill -9 under a lease keeps the lock; no warning", async ({
    postgresServer,
    pool,
    locker,
  }) => {
    const server = await postgresServer();
    const warnings: string[] = [];
    const [one, other] = [1, 2].map(() => {
      const made = locker({ backends: [postgres(pool(server))], ttlMs: 10_000 });
      made.on("warning", ({ text }) => warnings.push(text));
      return made;
    }) as [ReturnType<typeof locker>, ReturnType<typeof locker>];
    const first = await one.acquire("report");
    await first.extend();
    await expect(other.acquire("report", { waitMs: 0 })).rejects.toBeInstanceOf(LockHeldError);
    await server.restart("kept");
    await eventually("extended after the restart", 2_000, () => first.extend());
    await expect(other.acquire("report", { waitMs: 0 })).rejects.toBeInstanceOf(LockHeldError);
    const waiting = other.acquire("report", { waitMs: 5_000 });
    expect(await first.release()).toBe("released");
    const second = await waiting;
    expect(second.token).toBeGreaterThan(first.token);
    expect(await second.release()).toBe("released");
    expect(warnings).toEqual([]);
  });

  test("64 contenders at once: exactly one grant in each round, tokens increase", async ({
    postgresServer,
    ready,
    pool,
    session,
  }) => {
    const server = await postgresServer();
    const sessions = [await ready(server), ...[1, 2, 3].map(() => session(postgres(pool(server))))];
    let last = 0n;
    for (const key of ["fresh", "fresh", "fresh", "second"]) {
      const replies = await Promise.all(
        Array.from({ length: CONTENDERS }, (_, i) => {
          const owner = i.toString(16).padStart(32, "0");
          return acquire(sessions[i % 4] as (typeof sessions)[number], key, { owner, ttlMs: 20_000 }).then(
            (reply) => ({ owner, reply }),
          );
        }),
      );
      const granted = replies.flatMap(({ owner, reply }) =>
        reply.kind === "granted" ? [{ owner, fence: reply.fence }] : [],
      );
      expect(granted).toHaveLength(1);
      expect(replies.filter(({ reply }) => reply.kind === "held")).toHaveLength(CONTENDERS - 1);
      expect(granted[0]?.fence).toBeGreaterThan(last);
      last = granted[0]?.fence ?? 0n;
      expect(await sessions[0]?.release(key, granted[0]?.owner ?? "")).toBe("released");
    }
  });

  test("works whatever the defaults of the database are, and changes nothing of the caller's client", async ({
    postgresServer,
    admin,
    after,
    session,
  }) => {
    const server = await postgresServer();
    const client = await admin(server);
    const defaults = [
      "default_transaction_isolation = 'serializable'",
      "default_transaction_deferrable = on",
      "synchronous_commit = off",
      "DateStyle = 'SQL, DMY'",
      "TimeZone = 'Asia/Kathmandu'",
      "IntervalStyle = 'sql_standard'",
      "bytea_output = 'escape'",
      "extra_float_digits = 0",
      "standard_conforming_strings = off",
    ];
    for (const each of defaults) await client.query(`ALTER DATABASE postgres SET ${each}`);
    const callers = new pg.Client(server.url);
    await callers.connect();
    after(() => callers.end());
    const listeners = callers.eventNames();
    await callers.query("BEGIN");
    const opened = session(postgres(callers));
    await putInService(opened);
    // Somebody else's work on the same client, in a transaction that goes on.
    await callers.query("CREATE TABLE work (n int)");
    const rounds = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        acquire(opened, `key-${i % 4}`, { owner: i.toString(16).padStart(32, "0") }).then(({ kind }) => kind),
      ),
    );
    expect(rounds.filter((kind) => kind === "granted")).toHaveLength(4);
    expect(rounds.filter((kind) => kind === "held")).toHaveLength(36);
    const { rows } = await callers.query("SHOW transaction_isolation");
    expect(rows).toEqual([{ transaction_isolation: "serializable" }]);
    await callers.query("ROLLBACK");
    expect(callers.eventNames()).toEqual(listeners);
    await opened.close();
    await eventually("its own connections are gone", 2_000, async () => {
      const left = await callers.query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
      );
      return (left.rows as { n: number }[])[0]?.n === 1;
    });
    expect((await callers.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  });

  test("a crash that empties an unlogged table, and TRUNCATE, are a loss of memory", async ({
    postgresServer,
    admin,
    ready,
  }) => {
    const server = await postgresServer();
    const session = await ready(server);
    const client = await admin(server);
    const before = await session.status();
    await client.query("TRUNCATE quorum_lock");
    expect((await acquire(session, "k")).kind).toBe("quarantined");
    const truncated = await session.status();
    expect(truncated.identity.incarnation).not.toBe(before.identity.incarnation);
    await putInService(session);
    await client.query("ALTER TABLE quorum_lock SET UNLOGGED");
    expect((await session.examine()).findings).toContainEqual(
      expect.objectContaining({ level: "warning", topic: "storage" }),
    );
    await grant(session, "k", { ttlMs: 60_000 });
    await server.restart("kept");
    await eventually("it answers", 2_000, () => session.status());
    expect((await acquire(session, "k", { owner: BOB })).kind).toBe("quarantined");
  });

  test("counters are deleted after their retention, live locks and the mark never", async ({
    postgresServer,
    admin,
    ready,
  }) => {
    const server = await postgresServer();
    const session = await ready(server, { deployment: { tokenRetentionMs: 300 } });
    const client = await admin(server);
    await grant(session, "live", { ttlMs: 60_000 });
    for (let i = 0; i < 600; i++) {
      await grant(session, `old-${i}`);
      await session.release(`old-${i}`, ALICE);
    }
    const count = async (): Promise<number> =>
      ((await client.query("SELECT count(*)::int AS n FROM quorum_lock")).rows as { n: number }[])[0]?.n ?? 0;
    const ms = await eventually("only the lock and the mark are left", 10_000, async () => {
      await acquire(session, "live", { owner: BOB });
      return (await count()) === 2;
    });
    figure("PostgreSQL: 600 old counters deleted behind the traffic", `${ms.toFixed(0)} ms`);
    expect((await session.inspect("live")).lock?.owner).toBe(ALICE);
    expect((await session.status()).kind).toBe("in-service");
  });
});
