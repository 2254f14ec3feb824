/** One quorum over three kinds of stores: a PostgreSQL, a MariaDB and a file; each in turn is killed. */
import { expect } from "vitest";
import { mysql } from "../../src/adapters/mysql.js";
import { postgres } from "../../src/adapters/postgres.js";
import { sqlite } from "../../src/adapters/sqlite.js";
import { NoQuorumError } from "../../src/errors.js";
import pg from "pg";
import Database from "libsql";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startPostgres } from "../servers/sql-server.mjs";
import { test } from "./kit.ts";

await describeWithServer("postgres", "a quorum of three kinds", () => {
  test("one may be killed: a lease goes on, tokens increase; with two gone nothing is granted; all back, all is well", async ({
    mariadb,
    pool,
    locker,
    after,
  }) => {
    const maria = await mariadb();
    const postgresServer = await startPostgres();
    after(() => postgresServer.stop());
    const pgPool = new pg.Pool({ connectionString: postgresServer.url });
    pgPool.on("error", () => undefined);
    after(() => pgPool.end());
    const folder = await mkdtemp(join(tmpdir(), "quorum-lock-mixed-"));
    after(() => rm(folder, { recursive: true, force: true }));
    const file = new Database(join(folder, "locks.db"));
    after(() => file.close());
    const backends = [postgres(pgPool), mysql(pool(maria)), sqlite(file)];
    const one = locker({ backends, ttlMs: 10_000, waitMs: 5_000 });
    const other = locker({ backends, ttlMs: 10_000, waitMs: 5_000 });
    const first = await one.acquire("report");
    let last = first.token;
    await maria.kill();
    await first.extend();
    expect(await first.release()).toBe("released");
    const second = await other.acquire("report");
    expect(second.token).toBeGreaterThan(last);
    last = second.token;
    await postgresServer.kill();
    await expect(one.acquire("other", { waitMs: 1_000 })).rejects.toBeInstanceOf(NoQuorumError);
    await maria.restart("kept");
    await eventually("extended over MariaDB and the file", 3_000, () => second.extend());
    expect(await second.release()).toBe("released");
    const third = await one.acquire("report");
    expect(third.token).toBeGreaterThan(last);
    last = third.token;
    await postgresServer.restart("kept");
    expect(await third.release()).toBe("released");
    const fourth = await other.acquire("report");
    expect(fourth.token).toBeGreaterThan(last);
    expect(await fourth.release()).toBe("released");
  });
});
