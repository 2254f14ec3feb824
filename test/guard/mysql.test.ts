import mysql from "mysql2/promise";
import callbackMysql from "mysql2";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  InvalidOptionError,
  MarksMissingError,
  NoTransactionError,
  StaleTokenError,
} from "../../src/errors.js";
import { guardMysql, mysqlMarks, mysqlMarksSchema, type GuardedLease } from "../../src/guard/mysql.js";
import { figure } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startMariadb, type RunningSql } from "../servers/sql-server.mjs";
import { HOLDER_COUNT, ODD_KEYS, planOf, runHolders, type Resource, type Write } from "./holders.ts";

const LEVELS = ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] as const;
const LOW_LEVEL = "READ COMMITTED";
/** Deadlock, and a row that changed since the snapshot: the database's own words for "run it again". */
const RETRYABLE = new Set([1213, 1020]);

await describeWithServer("mariadb", "guardMysql", () => {
  let server: RunningSql;
  let pool: mysql.Pool;
  const opened: mysql.Connection[] = [];
  beforeAll(async () => {
    server = await startMariadb({ args: ["--innodb-flush-log-at-trx-commit=2"] });
    pool = mysql.createPool({ uri: server.url, connectionLimit: 2 });
    await pool.query(mysqlMarksSchema());
    await pool.query(
      "CREATE TABLE data (id INT PRIMARY KEY, n BIGINT NOT NULL, token BIGINT NOT NULL) ENGINE=InnoDB",
    );
    await pool.query(
      "CREATE TABLE history (id INT, n BIGINT, token BIGINT NOT NULL, PRIMARY KEY (id, n)) ENGINE=InnoDB",
    );
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((connection) => connection.end().catch(() => undefined)));
  });
  afterAll(async () => {
    await pool?.end();
    await server?.stop();
  });

  async function connect(options: mysql.ConnectionOptions = {}): Promise<mysql.Connection> {
    const connection = await mysql.createConnection({ uri: server.url, ...options });
    connection.on("error", () => undefined);
    opened.push(connection);
    return connection;
  }

  async function value(sql: string, values: unknown[]): Promise<bigint | undefined> {
    const [rows] = await pool.query(sql, values);
    const [first] = rows as { token: string }[];
    return first === undefined ? undefined : BigInt(first.token);
  }

  const markOf = (key: string): Promise<bigint | undefined> =>
    value("SELECT CAST(token AS CHAR) AS token FROM quorum_lock_marks WHERE k = ?", [Buffer.from(key)]);

  const row = (id: number): Promise<bigint | undefined> =>
    value("SELECT CAST(token AS CHAR) AS token FROM data WHERE id = ?", [id]);

  async function prepare(id: number): Promise<void> {
    await pool.query("REPLACE INTO data VALUES (?, 0, 0)", [id]);
    await pool.query("DELETE FROM history WHERE id = ?", [id]);
  }

  async function set(connection: mysql.Connection, id: number, token: bigint): Promise<void> {
    await connection.query(`UPDATE data SET n = n + 1, token = ${token} WHERE id = ${id}`);
    await connection.query(`INSERT INTO history SELECT id, n, token FROM data WHERE id = ${id}`);
  }

  async function begin(connection: mysql.Connection, level: string): Promise<void> {
    await connection.query(`SET TRANSACTION ISOLATION LEVEL ${level}`);
    await connection.query("START TRANSACTION");
  }

  type Guard = (connection: mysql.Connection, lease: GuardedLease) => Promise<void>;

  async function resource(
    id: number,
    level: string,
    guard: Guard = guardMysql,
  ): Promise<Resource & { retries: number }> {
    await prepare(id);
    const writers: Write[] = [];
    for (let i = 0; i < HOLDER_COUNT; i++) {
      const connection = await connect();
      writers.push(async (lease, pauseAt) => {
        for (;;) {
          try {
            await pauseAt("before-guard");
            await begin(connection, level);
            await guard(connection, lease);
            await pauseAt("before-write");
            await set(connection, id, lease.token);
            await pauseAt("before-commit");
            await connection.query("COMMIT");
            return;
          } catch (error) {
            await connection.query("ROLLBACK");
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
        const [rows] = await pool.query(
          "SELECT CAST(token AS CHAR) AS token FROM history WHERE id = ? ORDER BY n",
          [id],
        );
        return (rows as { token: string }[]).map(({ token }) => BigInt(token));
      },
    };
    return made;
  }

  describe.each(LEVELS.map((level, i) => ({ level, id: i + 1 })))("under $level", ({ level, id }) => {
    test("of eight holders with fifty pauses, no stale one writes and no current one is refused", async () => {
      const made = await resource(id, level);
      const plan = planOf(`holders ${level}`, 120);
      const verdict = await runHolders(made, plan);
      figure(
        `guardMysql ${level}`,
        `${JSON.stringify(verdict)}, ${made.retries} repeated, seed ${plan.seed}`,
      );
      expect(verdict.violations, `seed ${plan.seed}`).toEqual([]);
      expect(verdict.refused).toBeGreaterThan(50);
    }, 900_000);

    test("a stale transaction that waits for a newer one is refused when that commits", async () => {
      const [stale, newer, key] = [await connect(), await connect(), `waits ${level}`];
      await prepare(id);
      // The mark is there before: two first marks at once are another test.
      await mysqlMarks(pool).advance({ key, token: 1n });
      await begin(newer, level);
      await guardMysql(newer, { key, token: 34n });
      await begin(stale, level);
      const outcome = settled(guardMysql(stale, { key, token: 33n }));
      await waiting(1);
      await set(newer, id, 34n);
      await newer.query("COMMIT");
      const error = await outcome;
      expect(error).toBeInstanceOf(StaleTokenError);
      expect(error).toMatchObject({ token: 33n, highest: 34n });
      await stale.query("ROLLBACK");
      expect(await row(id)).toBe(34n);
      expect(await markOf(key)).toBe(34n);
    });

    test("it passes when the newer one rolls back: mark and write go together", async () => {
      const [older, newer, key] = [await connect(), await connect(), `rolls back ${level}`];
      await prepare(id);
      await mysqlMarks(pool).advance({ key, token: 1n });
      await begin(newer, level);
      await guardMysql(newer, { key, token: 34n });
      await set(newer, id, 34n);
      await begin(older, level);
      const outcome = settled(guardMysql(older, { key, token: 33n }));
      await waiting(1);
      await newer.query("ROLLBACK");
      expect(await outcome).toBe(undefined);
      await set(older, id, 33n);
      await older.query("COMMIT");
      expect(await row(id)).toBe(33n);
      expect(await markOf(key)).toBe(33n);
    });

    test("a newer holder waits for the older one's transaction, and then sees what it wrote", async () => {
      const [older, newer, key] = [await connect(), await connect(), `after ${level}`];
      await prepare(id);
      await mysqlMarks(pool).advance({ key, token: 1n });
      await begin(older, level);
      await guardMysql(older, { key, token: 33n });
      await begin(newer, level);
      const outcome = settled(guardMysql(newer, { key, token: 34n }));
      await waiting(1);
      await set(older, id, 33n);
      await older.query("COMMIT");
      expect(await outcome).toBe(undefined);
      // The guard came first in the transaction and takes no snapshot, so what is read now is new.
      const [rows] = await newer.query("SELECT token FROM data WHERE id = ?", [id]);
      expect(rows).toEqual([{ token: 33 }]);
      await set(newer, id, 34n);
      await newer.query("COMMIT");
      expect(await row(id)).toBe(34n);
    });

    test("a stale transaction with a snapshot from before the hand-over is refused", async () => {
      const [stale, newer, key] = [await connect(), await connect(), `snapshot ${level}`];
      await prepare(id);
      await mysqlMarks(pool).advance({ key, token: 33n });
      await begin(stale, level);
      await stale.query("SELECT * FROM data WHERE id = 999");
      await stale.query("SELECT * FROM quorum_lock_marks WHERE k = 'no such key'");
      await begin(newer, level);
      await guardMysql(newer, { key, token: 34n });
      await set(newer, id, 34n);
      await newer.query("COMMIT");
      expect(await settled(guardMysql(stale, { key, token: 33n }))).toMatchObject({
        code: "STALE_TOKEN",
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
              await guardMysql(client, { key, token });
              await set(client, id, token);
              await client.query("COMMIT");
              order.push(token);
            } catch (error) {
              await client.query("ROLLBACK");
              if (!(error instanceof StaleTokenError) && !isRetryable(error)) throw error;
            }
          }),
        );
        const highest = [...order].sort((a, b) => Number(a - b)).at(-1);
        expect(order.length).toBeGreaterThan(0);
        expect(await markOf(key)).toBe(highest);
        expect(await row(id)).toBe(highest);
      }
    });
  });

  const inTransaction = async (lease: GuardedLease, connection?: mysql.Connection): Promise<void> => {
    const tx = connection ?? (await connect());
    await tx.query("START TRANSACTION");
    try {
      await guardMysql(tx, lease);
      await tx.query("COMMIT");
    } catch (error) {
      await tx.query("ROLLBACK");
      throw error;
    }
  };

  test("the holder's own token passes again and again", async () => {
    const connection = await connect();
    for (let i = 0; i < 5; i++) await inTransaction({ key: "equal", token: 7n }, connection);
    await connection.query("START TRANSACTION");
    await guardMysql(connection, { key: "equal", token: 7n });
    await guardMysql(connection, { key: "equal", token: 7n });
    await connection.query("COMMIT");
    expect(await markOf("equal")).toBe(7n);
  });

  test("a refusal says that the transaction is still open and must be rolled back", async () => {
    await inTransaction({ key: "told", token: 34n });
    const refused = await settled(inTransaction({ key: "told", token: 33n }));
    expect(String(refused)).toContain("roll the transaction back");
    expect(await markOf("told")).toBe(34n);
  });

  test("outside a transaction it refuses", async () => {
    const connection = await connect();
    for (const resource of [connection, pool]) {
      await expect(guardMysql(resource, { key: "outside", token: 1n })).rejects.toThrow(NoTransactionError);
    }
    await connection.query("SET autocommit = 0");
    await guardMysql(connection, { key: "outside", token: 2n });
    await connection.query("ROLLBACK");
    expect(await markOf("outside")).toBe(1n);
  });

  test("a client that dies in the middle leaves neither mark nor write", async () => {
    const connection = await connect();
    await prepare(10);
    await mysqlMarks(pool).advance({ key: "dies", token: 1n });
    await connection.query("START TRANSACTION");
    await guardMysql(connection, { key: "dies", token: 34n });
    await set(connection, 10, 34n);
    connection.destroy();
    await inTransaction({ key: "dies", token: 33n });
    expect(await markOf("dies")).toBe(33n);
    expect(await row(10)).toBe(0n);
  });

  test("keys of every kind are kept apart and exactly, whatever the connection speaks", async () => {
    const connection = await connect({ charset: "latin1_swedish_ci" });
    await connection.query("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'");
    for (const [i, key] of ODD_KEYS.entries())
      await inTransaction({ key, token: BigInt(1000 - i) }, connection);
    for (const [i, key] of ODD_KEYS.entries()) {
      expect(await markOf(key)).toBe(BigInt(1000 - i));
      await expect(inTransaction({ key, token: BigInt(999 - i) }, connection)).rejects.toMatchObject({ key });
    }
    await expect(inTransaction({ key: "x".repeat(513), token: 1n })).rejects.toMatchObject({
      code: "INVALID_KEY",
    });
  });

  test.each<mysql.ConnectionOptions>([
    {},
    { rowsAsArray: true },
    { supportBigNumbers: true, bigNumberStrings: true },
  ])("tokens are exact up to 2^63 - 1 on a connection with %j", async (options) => {
    const connection = await connect(options);
    await connection.query("SET SESSION sql_mode = ''");
    const key = `large ${JSON.stringify(options)}`;
    for (const token of [1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 2n, 2n ** 63n - 1n]) {
      await inTransaction({ key, token }, connection);
      expect(await markOf(key)).toBe(token);
      const stale = await settled(inTransaction({ key, token: token - 1n }, connection));
      expect(stale).toMatchObject({ code: "STALE_TOKEN", highest: token });
    }
    await expect(inTransaction({ key, token: 2n ** 63n }, connection)).rejects.toThrow(InvalidOptionError);
    await expect(inTransaction({ key, token: 34 as unknown as bigint }, connection)).rejects.toThrow(
      InvalidOptionError,
    );
  });

  test("without its table it says what to run, and that works", async () => {
    const connection = await connect();
    const options = { table: "locks.my_marks" };
    await connection.query("START TRANSACTION");
    const error = await settled(guardMysql(connection, { key: "k", token: 1n }, options));
    expect(error).toBeInstanceOf(MarksMissingError);
    const { statement, message } = error as MarksMissingError;
    expect(message).toContain(statement);
    await connection.query("ROLLBACK");
    await connection.query("CREATE DATABASE locks");
    await connection.query(statement);
    await connection.query(statement);
    await connection.query("START TRANSACTION");
    await guardMysql(connection, { key: "k", token: 1n }, options);
    await connection.query("COMMIT");
  });

  test("a table with unsigned tokens refuses as well", async () => {
    const connection = await connect();
    await connection.query(
      "CREATE TABLE unsigned_marks (k VARBINARY(512) PRIMARY KEY, token BIGINT UNSIGNED NOT NULL)",
    );
    await connection.query("START TRANSACTION");
    await guardMysql(connection, { key: "k", token: 34n }, { table: "unsigned_marks" });
    await expect(
      guardMysql(connection, { key: "k", token: 33n }, { table: "unsigned_marks" }),
    ).rejects.toMatchObject({ highest: 34n });
    await connection.query("ROLLBACK");
  });

  test.each(["", "a b", "a`b", "a.b.c", "1a", "a;b"])("refuses the table name %j", async (table) => {
    await expect(guardMysql(pool, { key: "k", token: 1n }, { table })).rejects.toMatchObject({
      code: "INVALID_OPTION",
    });
  });

  test("refuses a connection of mysql2 without promises", async () => {
    const connection = callbackMysql.createConnection(server.url);
    connection.on("error", () => undefined);
    const error = await settled(guardMysql(connection as never, { key: "callback", token: 1n }));
    expect(error).toBeInstanceOf(Error);
    await new Promise((resolve) => connection.end(resolve));
  });

  test("the database's own errors come through as they are", async () => {
    const connection = await connect();
    await connection.query("START TRANSACTION READ ONLY");
    await expect(guardMysql(connection, { key: "k", token: 1n })).rejects.toMatchObject({ errno: 1792 });
    await connection.query("ROLLBACK");
    const other = await connect();
    await other.query("START TRANSACTION");
    await guardMysql(other, { key: "locked", token: 1n });
    await connection.query("SET SESSION innodb_lock_wait_timeout = 0");
    await connection.query("START TRANSACTION");
    await expect(guardMysql(connection, { key: "locked", token: 1n })).rejects.toMatchObject({ errno: 1205 });
    await other.query("ROLLBACK");
  });

  describe("the test with eight holders notices a guard that", () => {
    const broken: Readonly<Record<string, Guard>> = {
      "checks outside the transaction": async (_, lease) => mysqlMarks(pool).advance(lease),
      "reads first and writes the mark then": async (connection, lease) => {
        const { key, token } = lease;
        const [rows] = await connection.query(
          "SELECT CAST(token AS CHAR) AS token FROM quorum_lock_marks WHERE k = ?",
          [Buffer.from(key)],
        );
        const highest = BigInt((rows as { token: string }[])[0]?.token ?? 0);
        if (highest > token) throw new StaleTokenError(key, { token, highest });
        await connection.query(`REPLACE INTO quorum_lock_marks VALUES (?, ${token})`, [Buffer.from(key)]);
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

  /** What the server shows is renewed only when nobody has looked for 100 ms. */
  async function waiting(count: number): Promise<void> {
    await expect
      .poll(
        async () => {
          const [rows] = await pool.query(
            "SELECT COUNT(*) AS n FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
          );
          return (rows as { n: number }[])[0]?.n;
        },
        { timeout: 5000, interval: 150 },
      )
      .toBe(count);
  }
});

/** What it rejected with; undefined when it resolved. */
function settled(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

function isRetryable(error: unknown): boolean {
  return error instanceof Error && RETRYABLE.has(Number(Reflect.get(error, "errno")));
}
