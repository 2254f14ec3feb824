/** Those who wait for a lock in a real PostgreSQL are called when it is free. */
import pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import { postgres } from "../../src/adapters/postgres.js";
import { acquire, ALICE, BOB, checkFault, eventually, grant, proposal, timed } from "../redis/kit.ts";
import { freshName } from "../servers/adapter-conformance.ts";
import { itHandsOver } from "../servers/hand-over.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startPostgres, type RunningSql } from "../servers/sql-server.mjs";
import { as, test } from "./kit.ts";

const LISTENING = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'`;

await describeWithServer("postgres", "waiting for a lock in PostgreSQL", () => {
  let server: RunningSql;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.stop());

  itHandsOver("PostgreSQL", async () => {
    const pools: pg.Pool[] = [];
    const table = freshName();
    return {
      port: Number(new URL(server.url).port),
      backend(port) {
        const url = new URL(server.url);
        url.port = String(port);
        const pool = new pg.Pool({ connectionString: url.href });
        pools.push(pool);
        return postgres(pool, { table });
      },
      close: async () => void (await Promise.all(pools.map((pool) => pool.end()))),
    };
  });

  test("nothing is opened while nobody waits, and it is closed again after the last one", async ({
    pool,
    admin,
    locker,
  }) => {
    const table = freshName();
    const client = await admin(server);
    const listening = async (): Promise<number> =>
      ((await client.query(LISTENING)).rows as { n: number }[])[0]?.n ?? -1;
    const [one, other] = [1, 2].map(() => locker({ backends: [postgres(pool(server), { table })] }));
    await eventually("those of other tests are gone", 5_000, async () => (await listening()) === 0);
    const lease = await one?.acquire("k");
    expect(await listening()).toBe(0);
    const waiting = other?.acquire("k", { waitMs: 20_000 });
    await eventually("it listens", 5_000, async () => (await listening()) === 1);
    await lease?.release();
    await (await waiting)?.release();
    await eventually("it listens no more", 15_000, async () => (await listening()) === 0);
  });

  test("a table without a line, of an earlier release: nobody is called, all else works, and examine says so", async ({
    admin,
    ready,
  }) => {
    const table = freshName();
    const session = await ready(server, { table });
    await (await admin(server)).query(`ALTER TABLE ${table} DROP COLUMN line`);
    const fence = await grant(session, "k");
    const ticket = { id: "1", since: 1n, waitsMs: 60_000 };
    const waits = { key: "k", owner: BOB, ttlMs: 1_500, proposal: proposal(), ticket };
    expect((await session.acquire(waits)).kind).toBe("held");
    await session.leave?.("k", "1");
    expect(await session.release("k", ALICE)).toBe("released");
    expect((await acquire(session, "k", { owner: BOB })).kind).toBe("granted");
    expect(await session.forceRelease("k")).toBe(true);
    expect((await session.inspect("k")).counter).toBeGreaterThan(fence);
    expect((await session.examine()).findings).toContainEqual(
      expect.objectContaining({ level: "warning", remedy: expect.stringContaining("ADD COLUMN") as unknown }),
    );
  });

  test("somebody else's transaction holds the row: a waiter is told held, in no line, and a release is refused in time", async ({
    admin,
    ready,
  }) => {
    const table = freshName();
    const session = await ready(server, { table });
    await grant(session, "k", { ttlMs: 2_000 });
    const client = await admin(server);
    await client.query("BEGIN");
    await client.query(`SELECT * FROM ${table} WHERE key = 'k' FOR UPDATE`);
    const ticket = { id: "1", since: 1n, waitsMs: 60_000 };
    const waits = { key: "k", owner: BOB, ttlMs: 1_500, proposal: proposal(), ticket };
    expect((await session.acquire(waits)).kind).toBe("held");
    const { ms, error } = await timed(session.release("k", ALICE));
    checkFault(error, "BACKEND_BUSY");
    expect(ms, "asked once").toBeLessThan(800);
    await client.query("ROLLBACK");
    const { rows } = await client.query(`SELECT line FROM ${table} WHERE key = 'k'`);
    expect(rows).toEqual([{ line: null }]);
    expect(await session.release("k", ALICE)).toBe("released");
  });

  test("a server that takes no calls frees locks all the same", async ({ admin, pool, session }) => {
    const client = await admin(server);
    const table = freshName();
    // Stands for a queue of notifications that is full, which fails the statement that calls.
    await client.query(`CREATE ROLE mute LOGIN; CREATE SCHEMA mute; GRANT USAGE ON SCHEMA mute TO mute;
      CREATE FUNCTION mute.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000'; END $$;
      ALTER ROLE mute SET search_path = mute, pg_catalog, public; GRANT CREATE ON SCHEMA public TO mute`);
    const opened = session(postgres(pool(as("mute", server)), { table: `public.${table}` }));
    const status = await opened.status();
    await opened.bootstrap(status.identity.incarnation);
    await grant(opened, "k");
    const ticket = { id: "1", since: 1n, waitsMs: 60_000 };
    await opened.acquire({ key: "k", owner: BOB, ttlMs: 1_500, proposal: proposal(), ticket });
    expect(await opened.release("k", ALICE)).toBe("released");
    expect((await acquire(opened, "k", { owner: BOB })).kind).toBe("granted");
    expect(await opened.forceRelease("k")).toBe(true);
  });

  test("who has the lock stands in no line, also where an extension created it anew ahead of the acquire", async ({
    admin,
    ready,
  }) => {
    const table = freshName();
    const session = await ready(server, { table });
    const client = await admin(server);
    await grant(session, "k", { ttlMs: 200 });
    const ticket = { id: "1", since: 1n, waitsMs: 60_000 };
    const waits = { key: "k", owner: BOB, ttlMs: 5_000, proposal: proposal(), ticket };
    expect((await session.acquire(waits)).kind).toBe("held");
    const anew = { key: "k", owner: BOB, ttlMs: 5_000, token: 1n, mayHeal: true };
    await eventually("it ends", 2_000, async () => (await session.extend(anew)).kind === "recreated");
    expect((await session.acquire(waits)).kind).toBe("granted");
    const { rows } = await client.query(`SELECT line FROM ${table} WHERE key = 'k'`);
    expect(rows).toEqual([{ line: null }]);
  });

  test("a line is bounded, those whose wait is over are forgotten, and what is no ticket does no harm", async ({
    admin,
    ready,
  }) => {
    const table = freshName();
    const session = await ready(server, { table });
    const client = await admin(server);
    const line = async (): Promise<readonly string[]> =>
      (
        (await client.query(`SELECT line FROM ${table} WHERE key = 'k'`)).rows as { line: string[] | null }[]
      )[0]?.line ?? [];
    const waits = async (id: string, waitsMs: number, owner = BOB): Promise<string> => {
      const ticket = { id, since: BigInt(id), waitsMs };
      return (await session.acquire({ key: "k", owner, ttlMs: 1_500, proposal: proposal(), ticket })).kind;
    };
    await grant(session, "k", { ttlMs: 2_000 });
    for (let id = 1; id <= 70; id++) expect(await waits(String(id), 60_000)).toBe("held");
    expect(await line()).toHaveLength(64);
    expect(await waits("1".repeat(65), 60_000)).toBe("held");
    expect(await session.release("k", ALICE)).toBe("released");
    expect(await waits("1", 60_000)).toBe("granted");
    expect(await line(), "neither the one that was granted nor another one").toHaveLength(63);
    await client.query(
      `UPDATE ${table} SET line = ARRAY['x', '', NULL, '${"y".repeat(9_000)}'] WHERE key = 'k'`,
    );
    expect(await waits("1000", 1, ALICE)).toBe("held");
    expect(await session.forceRelease("k")).toBe(true);
    await eventually("it is free", 2_000, async () => (await acquire(session, "k")).kind === "granted");
  });
});
