import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { MarksMissingError, NoTransactionError, StaleTokenError } from "../../src/errors.js";
import {
  guardPostgres,
  postgresMarks,
  postgresMarksSchema,
  type GuardedLease,
} from "../../src/guard/postgres.js";
import { LIMITS } from "../../src/options.js";
import { KEY_BYTES_MAX, MARKS_TABLE } from "../../src/guard/lease.js";
import { figure } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startPostgres, type RunningSql } from "../servers/sql-server.mjs";
import { HOLDER_COUNT, ODD_KEYS, planOf, runHolders, type Resource, type Write } from "./holders.ts";

const LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] as const;
const LOW_LEVEL = "READ COMMITTED";
const SERIALIZATION_FAILURE = "40001";
const DEADLOCK = "40P01";
const IN_FAILED_TRANSACTION = "25P02";

await describeWithServer("postgres", "guardPostgres", () => {
  let server: RunningSql;
  let pool: pg.Pool;
  const opened: pg.Client[] = [];
  beforeAll(async () => {
    server = await startPostgres({ args: ["-c", "fsync=off"] });
    pool = new pg.Pool({ connectionString: server.url, max: 2 });
    pool.on("error", () => undefined);
    await pool.query(postgresMarksSchema());
    await pool.query("CREATE TABLE data (id int PRIMARY KEY, n bigint NOT NULL, token bigint NOT NULL)");
    await pool.query("CREATE TABLE history (id int, n bigint, token bigint NOT NULL, PRIMARY KEY (id, n))");
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((client) => client.end().catch(() => undefined)));
  });
  afterAll(async () => {
    await pool?.end();
    await server?.stop();
  });

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: server.url });
    client.on("error", () => undefined);
    await client.connect();
    opened.push(client);
    return client;
  }

  async function markOf(key: string): Promise<bigint | undefined> {
    const { rows } = await pool.query("SELECT token FROM quorum_lock_marks WHERE key = $1", [
      Buffer.from(key),
    ]);
    return rows[0] === undefined ? undefined : BigInt(rows[0].token);
  }

  /** The protected row of a test. */
  async function row(id: number): Promise<bigint> {
    const { rows } = await pool.query("SELECT token FROM data WHERE id = $1", [id]);
    return BigInt(rows[0]?.token ?? 0);
  }

  async function prepare(id: number): Promise<void> {
    await pool.query("INSERT INTO data VALUES ($1, 0, 0) ON CONFLICT (id) DO UPDATE SET n = 0, token = 0", [
      id,
    ]);
    await pool.query("DELETE FROM history WHERE id = $1", [id]);
  }

  const set = (client: pg.Client, id: number, token: bigint): Promise<unknown> =>
    client.query(
      "WITH u AS (UPDATE data SET n = n + 1, token = $2 WHERE id = $1 RETURNING id, n, token) INSERT INTO history SELECT * FROM u",
      [id, token.toString()],
    );

  const begin = (client: pg.Client, level: string): Promise<unknown> =>
    client.query(`BEGIN ISOLATION LEVEL ${level}`);

  type Guard = (client: pg.Client, lease: GuardedLease) => Promise<void>;

  /** The protected row under eight holders; a transaction that the database wants repeated is repeated. */
  async function resource(
    id: number,
    level: string,
    guard: Guard = guardPostgres,
  ): Promise<Resource & { retries: number }> {
    await prepare(id);
    const writers: Write[] = [];
    for (let i = 0; i < HOLDER_COUNT; i++) {
      const client = await connect();
      writers.push(async (lease, pauseAt) => {
        for (;;) {
          try {
            await pauseAt("before-guard");
            await begin(client, level);
            await guard(client, lease);
            await pauseAt("before-write");
            await set(client, id, lease.token);
            await pauseAt("before-commit");
            await client.query("COMMIT");
            return;
          } catch (error) {
            await client.query("ROLLBACK");
            if (!isRetryable(error)) throw error;
            made.retries++;
          }
        }
      });
    }
    const made = {
      writers,
      retries: 0,
      history: async () => {
        const { rows } = await pool.query("SELECT token FROM history WHERE id = $1 ORDER BY n", [id]);
        return rows.map(({ token }) => BigInt(token));
      },
    };
    return made;
  }

  describe.each(LEVELS.map((level, i) => ({ level, id: i + 1 })))("under $level", ({ level, id }) => {
    test("of eight holders with fifty pauses, no stale one writes and no current one is refused", async () => {
      const made = await resource(id, level);
      const plan = planOf(`holders ${level}`, 80);
      const verdict = await runHolders(made, plan);
      figure(
        `guardPostgres ${level}`,
        `${JSON.stringify(verdict)}, ${made.retries} repeated, seed ${plan.seed}`,
      );
      expect(verdict.violations, `seed ${plan.seed}`).toEqual([]);
      expect(verdict.refused).toBeGreaterThan(50);
    }, 900_000);

    test("a stale transaction that waits for a newer one is refused when that commits", async () => {
      const [stale, newer, key] = [await connect(), await connect(), `waits ${level}`];
      await prepare(id);
      await begin(newer, level);
      await guardPostgres(newer, { key, token: 34n });
      await begin(stale, level);
      const outcome = settled(guardPostgres(stale, { key, token: 33n }));
      await waiting(stale);
      await set(newer, id, 34n);
      await newer.query("COMMIT");
      expectRefusal(await outcome, level, { token: 33n, highest: 34n });
      await expect(set(stale, id, 33n)).rejects.toMatchObject({ code: IN_FAILED_TRANSACTION });
      await stale.query("COMMIT");
      expect(await row(id)).toBe(34n);
      expect(await markOf(key)).toBe(34n);
    });

    test("it passes when the newer one rolls back: mark and write go together", async () => {
      const [older, newer, key] = [await connect(), await connect(), `rolls back ${level}`];
      await prepare(id);
      await begin(newer, level);
      await guardPostgres(newer, { key, token: 34n });
      await set(newer, id, 34n);
      await begin(older, level);
      const outcome = settled(guardPostgres(older, { key, token: 33n }));
      await waiting(older);
      await newer.query("ROLLBACK");
      expect(await outcome).toBe(undefined);
      await set(older, id, 33n);
      await older.query("COMMIT");
      expect(await row(id)).toBe(33n);
      expect(await markOf(key)).toBe(33n);
    });

    test("a newer holder waits for the older one's transaction, and comes after it", async () => {
      const [older, newer, key] = [await connect(), await connect(), `after ${level}`];
      await prepare(id);
      // Not the first write of this holder: also an equal token must show in the newer one's snapshot.
      await postgresMarks(pool).advance({ key, token: 33n });
      await begin(older, level);
      await guardPostgres(older, { key, token: 33n });
      await begin(newer, level);
      const outcome = settled(guardPostgres(newer, { key, token: 34n }));
      await waiting(newer);
      await set(older, id, 33n);
      await older.query("COMMIT");
      // A snapshot may be older than what the holder before wrote; the transaction is then told so.
      const failure = level === LOW_LEVEL ? undefined : SERIALIZATION_FAILURE;
      expect(Reflect.get(Object(await outcome), "code")).toBe(failure);
      if (failure !== undefined) {
        await newer.query("ROLLBACK");
        await begin(newer, level);
        await guardPostgres(newer, { key, token: 34n });
      }
      expect((await newer.query("SELECT token FROM data WHERE id = $1", [id])).rows).toEqual([
        { token: "33" },
      ]);
      await set(newer, id, 34n);
      await newer.query("COMMIT");
      expect(await row(id)).toBe(34n);
    });

    test("a stale transaction with a snapshot from before the hand-over is refused", async () => {
      const [stale, newer, key] = [await connect(), await connect(), `snapshot ${level}`];
      await prepare(id);
      await begin(stale, level);
      await guardPostgres(stale, { key, token: 33n });
      await stale.query("COMMIT");
      await begin(stale, level);
      await stale.query("SELECT * FROM data");
      await begin(newer, level);
      await guardPostgres(newer, { key, token: 34n });
      await set(newer, id, 34n);
      await newer.query("COMMIT");
      expectRefusal(await settled(guardPostgres(stale, { key, token: 33n })), level, {
        token: 33n,
        highest: 34n,
      });
      await stale.query("ROLLBACK");
      await begin(stale, level);
      expectRefusal(await settled(guardPostgres(stale, { key, token: 33n })), LOW_LEVEL, {
        token: 33n,
        highest: 34n,
      });
      await stale.query("ROLLBACK");
      expect(await row(id)).toBe(34n);
    });

    test("the first marks of a key, made at once: the older one is refused or came first", async () => {
      const clients = await Promise.all([connect(), connect(), connect(), connect()]);
      for (let round = 0; round < 20; round++) {
        const key = `first ${level} ${round}`;
        await prepare(id);
        const order: bigint[] = [];
        await Promise.all(
          clients.map(async (client, i) => {
            const token = BigInt(i + 1);
            try {
              await begin(client, level);
              await guardPostgres(client, { key, token });
              order.push(token);
              await set(client, id, token);
              await client.query("COMMIT");
            } catch (error) {
              await client.query("ROLLBACK");
              if (!(error instanceof StaleTokenError) && !isRetryable(error)) throw error;
            }
          }),
        );
        expect(order.length).toBeGreaterThan(0);
        expect(order).toEqual([...order].sort((a, b) => Number(a - b)));
        expect(await markOf(key)).toBe(order.at(-1));
        expect(await row(id)).toBe(order.at(-1));
      }
    });
  });

  const inTransaction = async (lease: GuardedLease, client?: pg.Client): Promise<void> => {
    const tx = client ?? (await connect());
    await tx.query("BEGIN");
    try {
      await guardPostgres(tx, lease);
      await tx.query("COMMIT");
    } catch (error) {
      await tx.query("ROLLBACK");
      throw error;
    }
  };

  test("the holder's own token passes again and again", async () => {
    const client = await connect();
    for (let i = 0; i < 5; i++) await inTransaction({ key: "equal", token: 7n }, client);
    await client.query("BEGIN");
    await guardPostgres(client, { key: "equal", token: 7n });
    await guardPostgres(client, { key: "equal", token: 7n });
    await client.query("COMMIT");
    expect(await markOf("equal")).toBe(7n);
  });

  test("after a refusal the transaction writes nothing, even when the refusal is swallowed", async () => {
    const client = await connect();
    await prepare(9);
    await inTransaction({ key: "swallowed", token: 34n }, client);
    await client.query("BEGIN");
    await set(client, 9, 1n);
    const refused = await settled(guardPostgres(client, { key: "swallowed", token: 33n }));
    expect(refused).toBeInstanceOf(StaleTokenError);
    expect(String(refused)).toContain("roll the transaction back");
    expect((await client.query("COMMIT")).command).toBe("ROLLBACK");
    expect(await row(9)).toBe(0n);
  });

  test("outside a transaction it refuses and changes nothing", async () => {
    const client = await connect();
    for (const resource of [client, pool]) {
      await expect(guardPostgres(resource, { key: "outside", token: 1n })).rejects.toThrow(
        NoTransactionError,
      );
    }
    expect(await markOf("outside")).toBe(undefined);
    await client.query("BEGIN; COMMIT");
    await expect(guardPostgres(client, { key: "outside", token: 1n })).rejects.toThrow(/BEGIN/);
  });

  test("in a transaction it passes, however soon after BEGIN, two hundred times", async () => {
    const client = await connect();
    for (let i = 0; i < 200; i++) {
      await Promise.all([
        client.query("BEGIN"),
        guardPostgres(client, { key: "soon", token: 1n }),
        client.query("COMMIT"),
      ]);
    }
  });

  test("a client that dies in the middle leaves neither mark nor write", async () => {
    const client = await connect();
    await prepare(10);
    await client.query("BEGIN");
    await guardPostgres(client, { key: "dies", token: 34n });
    await set(client, 10, 34n);
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    await inTransaction({ key: "dies", token: 33n });
    expect(await markOf("dies")).toBe(33n);
    expect(await row(10)).toBe(0n);
  });

  test("keys of every kind are kept apart and exactly", async () => {
    const client = await connect();
    for (const [i, key] of ODD_KEYS.entries()) await inTransaction({ key, token: BigInt(1000 - i) }, client);
    for (const [i, key] of ODD_KEYS.entries()) {
      expect(await markOf(key)).toBe(BigInt(1000 - i));
      await expect(inTransaction({ key, token: BigInt(999 - i) }, client)).rejects.toMatchObject({ key });
    }
    await expect(inTransaction({ key: "", token: 1n })).rejects.toMatchObject({ code: "INVALID_KEY" });
    await expect(inTransaction({ key: "\ud800", token: 1n })).rejects.toMatchObject({ code: "INVALID_KEY" });
    await expect(inTransaction({ key: "x".repeat(513), token: 1n })).rejects.toMatchObject({
      code: "INVALID_KEY",
    });
    expect(KEY_BYTES_MAX).toBe(LIMITS.keyBytesMax);
  });

  test("tokens are exact up to 2^63 - 1, and what is none is refused", async () => {
    const client = await connect();
    await inTransaction({ key: "large", token: 0n }, client);
    for (const token of [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 2n, 2n ** 63n - 1n]) {
      await inTransaction({ key: "large", token }, client);
      expect(await markOf("large")).toBe(token);
      await expect(inTransaction({ key: "large", token: token - 1n }, client)).rejects.toMatchObject({
        code: "STALE_TOKEN",
        token: token - 1n,
        highest: token,
      });
    }
    for (const token of [-1n, 2n ** 63n, 34, "34", undefined, Number.NaN]) {
      await expect(inTransaction({ key: "large", token: token as bigint }, client)).rejects.toMatchObject({
        code: "INVALID_OPTION",
        option: "lease.token",
      });
    }
  });

  test("without its table it says what to run, and that works", async () => {
    const client = await connect();
    const options = { table: "Locks.my_marks" };
    await client.query("BEGIN");
    const error = await settled(guardPostgres(client, { key: "k", token: 1n }, options));
    expect(error).toBeInstanceOf(MarksMissingError);
    const { statement, message } = error as MarksMissingError;
    expect(message).toContain(statement);
    await client.query("ROLLBACK");
    await client.query('CREATE SCHEMA "Locks"');
    await client.query(statement);
    await client.query(statement);
    await client.query("BEGIN");
    await guardPostgres(client, { key: "k", token: 1n }, options);
    await client.query("COMMIT");
    expect((await client.query('SELECT token FROM "Locks".my_marks')).rows).toEqual([{ token: "1" }]);
  });

  test.each(["", "a b", 'a"b', "a.b.c", "1a", "a;b", "a".repeat(64), "a.", 5])(
    "refuses the table name %j",
    async (table) => {
      const options = { table: table as string };
      await expect(guardPostgres(pool, { key: "k", token: 1n }, options)).rejects.toMatchObject({
        code: "INVALID_OPTION",
      });
      expect(() => postgresMarksSchema(options)).toThrow(/table name/);
    },
  );

  test("the database's own errors come through as they are", async () => {
    const client = await connect();
    await client.query("BEGIN READ ONLY");
    await expect(guardPostgres(client, { key: "k", token: 1n })).rejects.toMatchObject({ code: "25006" });
    await client.query("ROLLBACK");
    await client.query("SET statement_timeout = 50");
    const other = await connect();
    await other.query("BEGIN");
    await guardPostgres(other, { key: "locked", token: 1n });
    await client.query("BEGIN");
    await expect(guardPostgres(client, { key: "locked", token: 1n })).rejects.toMatchObject({
      code: "57014",
    });
    await other.query("ROLLBACK");
    await client.query("ROLLBACK");
    await client.query("CREATE TABLE no_key (key bytea, token bigint)");
    await client.query("BEGIN");
    await expect(guardPostgres(client, { key: "k", token: 1n }, { table: "no_key" })).rejects.toMatchObject({
      code: "42P10",
    });
  });

  test("is understood in a database that speaks another encoding or quotes otherwise", async () => {
    const client = await connect();
    await client.query(
      "SET client_encoding = 'LATIN1'; SET standard_conforming_strings = off; SET bytea_output = 'escape'",
    );
    await inTransaction({ key: "ключ\\' 🔒", token: 34n }, client);
    await expect(inTransaction({ key: "ключ\\' 🔒", token: 33n }, client)).rejects.toMatchObject({
      highest: 34n,
    });
    expect(await markOf("ключ\\' 🔒")).toBe(34n);
  });

  test("marks of a store are those of the guard, each noted in a statement of its own", async () => {
    const marks = postgresMarks(pool);
    await marks.advance({ key: "store", token: 34n });
    await expect(inTransaction({ key: "store", token: 33n })).rejects.toMatchObject({ highest: 34n });
    await inTransaction({ key: "store", token: 35n });
    await expect(Promise.resolve(marks.advance({ key: "store", token: 34n }))).rejects.toMatchObject({
      highest: 35n,
    });
    await marks.advance({ key: "store", token: 2n ** 53n + 1n });
    expect(await markOf("store")).toBe(2n ** 53n + 1n);
    expect(() => postgresMarks(pool, { table: "a b" })).toThrow(/table name/);
  });

  describe("the test with eight holders notices a guard that", () => {
    const broken: Readonly<Record<string, Guard>> = {
      "checks nothing": async () => undefined,
      "checks outside the transaction": async (_, lease) => postgresMarks(pool).advance(lease),
      "reads first and writes the mark then": async (client, lease) => {
        const { key, token } = lease;
        const { rows } = await client.query("SELECT token FROM quorum_lock_marks WHERE key = $1", [
          Buffer.from(key),
        ]);
        const highest = BigInt(rows[0]?.token ?? 0);
        if (highest > token) throw new StaleTokenError(key, { token, highest });
        await client.query(
          "INSERT INTO quorum_lock_marks VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET token = EXCLUDED.token",
          [Buffer.from(key), token.toString()],
        );
      },
      "refuses equal tokens": async (client, lease) => {
        const { rows } = await client.query("SELECT token FROM quorum_lock_marks WHERE key = $1", [
          Buffer.from(lease.key),
        ]);
        const highest = BigInt(rows[0]?.token ?? -1);
        if (highest === lease.token) throw new StaleTokenError(lease.key, { token: lease.token, highest });
        await guardPostgres(client, lease);
      },
    };
    test.each(Object.entries(broken))(
      "%s",
      async (name, guard) => {
        const id = 100 + Object.keys(broken).indexOf(name);
        const verdict = await runHolders(await resource(id, LOW_LEVEL, guard), planOf(`broken: ${name}`, 60));
        expect(verdict.violations).not.toEqual([]);
      },
      900_000,
    );
  });

  /** Until the server says that the client waits for a lock. */
  async function waiting(client: pg.Client): Promise<void> {
    const { processID } = client as unknown as { processID: number };
    await expect
      .poll(
        async () => {
          const { rows } = await pool.query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $1", [
            processID,
          ]);
          return rows[0]?.wait_event_type as unknown;
        },
        { timeout: 5000, interval: 5 },
      )
      .toBe("Lock");
  }
});

test("the table of the marks has a name that needs no quotes", () => {
  expect(MARKS_TABLE).toMatch(/^[a-z_]+$/);
});

/** What it rejected with; undefined when it resolved. */
function settled(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

function isRetryable(error: unknown): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  return code === SERIALIZATION_FAILURE || code === DEADLOCK;
}

/** A transaction with a snapshot is told to start again before tokens are compared; then it is refused as well. */
function expectRefusal(error: unknown, level: string, tokens: { token: bigint; highest: bigint }): void {
  const refusal = level === LOW_LEVEL ? { code: "STALE_TOKEN", ...tokens } : { code: SERIALIZATION_FAILURE };
  expect(error).toMatchObject(refusal);
}
