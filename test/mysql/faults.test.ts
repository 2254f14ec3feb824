/** What goes wrong between a client and a real MariaDB: each is a coded error that names backend and cause, in time. */
import { createServer } from "node:net";
import { expect } from "vitest";
import { mysql, mysqlSchema } from "../../src/adapters/mysql.js";
import {
  acquire,
  ALICE,
  BOB,
  checkFault,
  eventually,
  expectFault,
  figure,
  grant,
  timed,
} from "../redis/kit.ts";
import { freePort } from "../servers/free-port.ts";
import { describeWithServer } from "../servers/needs.ts";
import { as, test } from "./kit.ts";

/** A statement that is owed an answer this long is given up with its connection. */
const ANSWER_MS = 1_400;
const CONNECT_MS = 1_000;
const RECOVERY_MS = 1_000;
const SLACK_MS = 400;

await describeWithServer("mariadb", "a server that does not answer", () => {
  test("frozen: a fault in time, and in service within a second of its return", async ({
    mariadb,
    ready,
  }) => {
    const server = await mariadb();
    const session = await ready(server);
    await grant(session, "before");
    await server.freeze();
    const asked = Array.from({ length: 12 }, (_, i) => timed(acquire(session, `frozen-${i}`)));
    for (const { ms, error } of await Promise.all(asked)) {
      expect(error).toMatchObject({
        code: expect.stringMatching(/^BACKEND_(TIMEOUT|SILENT|NOT_CONNECTED|DISCONNECTED)$/) as unknown,
      });
      expect(ms).toBeLessThan(2 * ANSWER_MS + SLACK_MS);
    }
    const late = await timed(session.release("before", ALICE));
    checkFault(late.error, "BACKEND_NOT_CONNECTED", /ETIMEDOUT|does not answer/);
    expect(late.ms).toBeLessThan(CONNECT_MS + SLACK_MS);
    await server.thaw();
    const ms = await eventually("recovery after a freeze", RECOVERY_MS, () => session.status());
    figure("MariaDB: recovery after a freeze", `${ms.toFixed(0)} ms`);
    // What it executed when it woke is released like everything that got no answer.
    await Promise.all(asked.map((_, i) => session.release(`frozen-${i}`, ALICE)));
    for (let i = 0; i < asked.length; i++) await grant(session, `frozen-${i}`, { owner: BOB });
  });

  test("killed with requests under way: faults at once; back with counter and incarnation", async ({
    mariadb,
    ready,
  }) => {
    const server = await mariadb();
    const session = await ready(server);
    const before = await session.status();
    const fence = await grant(session, "k");
    const asked = Array.from({ length: 8 }, (_, i) => timed(acquire(session, `killed-${i}`)));
    await server.kill();
    const { error, ms } = await timed(acquire(session, "after"));
    checkFault(error, "BACKEND_NOT_CONNECTED", /ECONNREFUSED/);
    expect(ms).toBeLessThan(SLACK_MS);
    expect((await Promise.all(asked)).filter((each) => each.ms > ANSWER_MS + SLACK_MS)).toEqual([]);
    await server.restart("kept");
    await eventually("recovery after a kill", RECOVERY_MS, () => session.status());
    expect((await session.status()).identity.incarnation).toBe(before.identity.incarnation);
    expect((await session.inspect("k")).counter).toBe(fence);
    expect(await grant(session, "after")).toBeGreaterThan(fence);
  });

  test("nobody listens, a host name that does not exist, and one that never says anything", async ({
    pool,
    session,
    after,
  }) => {
    const nobody = session(mysql(pool({ url: `mysql://x@127.0.0.1:${await freePort()}/x` })));
    const fault = await expectFault(acquire(nobody, "k"), "BACKEND_NOT_CONNECTED", /ECONNREFUSED/);
    expect(fault.effect).toBe("none");
    const nowhere = session(mysql(pool({ url: "mysql://x@no-such-host.invalid/x" })));
    await expectFault(acquire(nowhere, "k"), "BACKEND_NOT_CONNECTED", /ENOTFOUND|EAI_AGAIN/);
    const deaf = createServer((socket) => socket.on("error", () => undefined));
    const port = await freePort();
    await new Promise<void>((resolve) => deaf.listen(port, "127.0.0.1", resolve));
    after(() => deaf.close());
    const opened = session(mysql(pool({ url: `mysql://x@127.0.0.1:${port}/x` })));
    const { ms, error } = await timed(acquire(opened, "k"));
    checkFault(error, "BACKEND_NOT_CONNECTED", /ETIMEDOUT/);
    expect(ms).toBeLessThan(CONNECT_MS + SLACK_MS);
  });
});

await describeWithServer("mariadb", "what a server refuses", () => {
  test("a wrong password, an unknown database, a read-only server", async ({
    mariadb,
    pool,
    ready,
    session,
  }) => {
    const server = await mariadb();
    const admin = pool(server);
    const held = await ready(server);
    await grant(held, "held");
    await admin.query("CREATE USER locks IDENTIFIED BY 'right'");
    await admin.query("GRANT ALL ON test.* TO locks");
    const wrong = session(mysql(pool(as("locks:wrong", server))));
    const fault = await expectFault(acquire(wrong, "k"), "BACKEND_AUTH", /error 1045/);
    expect(fault.effect).toBe("none");
    const noDatabase = session(mysql(pool({ url: server.url.replace(/test$/, "nothing") })));
    await expectFault(acquire(noDatabase, "k"), "BACKEND_NOT_CONNECTED", /Unknown database 'nothing'/);
    const right = session(mysql(pool(as("locks:right", server))));
    expect((await right.status()).kind).toBe("in-service");
    await admin.query("SET GLOBAL read_only = 1");
    const readonly = await expectFault(acquire(right, "k"), "BACKEND_READONLY", /read-only/);
    expect(readonly.effect).toBe("none");
    expect((await right.examine()).findings).toContainEqual(
      expect.objectContaining({ level: "problem", topic: "role" }),
    );
    await admin.query("SET GLOBAL read_only = 0");
    await grant(right, "k");
  });

  test("a user who may not make the table: the error says what to run, and after it all is well", async ({
    mariadb,
    pool,
    session,
  }) => {
    const server = await mariadb();
    const admin = pool(server);
    await admin.query("CREATE USER app");
    await admin.query("CREATE DATABASE locks");
    await admin.query("GRANT SELECT ON test.* TO app");
    const opened = session(mysql(pool(as("app", server)), { table: "locks.held" }));
    const statement = mysqlSchema({ table: "locks.held" });
    const missing = await expectFault(
      acquire(opened, "k"),
      "BACKEND_NO_PERMISSION",
      /SELECT|mysqlSchema\(\)/,
    );
    expect(missing.effect).toBe("none");
    await admin.query("GRANT SELECT ON locks.* TO app");
    const unmade = await expectFault(acquire(opened, "k"), "BACKEND_NO_PERMISSION", /mysqlSchema\(\)/);
    expect(unmade.message).toContain(statement);
    await admin.query(statement);
    await expectFault(acquire(opened, "k"), "BACKEND_NO_PERMISSION", /access rules/);
    await admin.query("GRANT INSERT, UPDATE, DELETE ON locks.held TO app");
    const status = await opened.status();
    await opened.bootstrap(status.identity.incarnation);
    await grant(opened, "k");
    expect((await opened.examine()).findings.filter(({ level }) => level !== "good")).toEqual([]);
  });

  test("a table of somebody else is left alone", async ({ mariadb, pool, session }) => {
    const server = await mariadb();
    const admin = pool(server);
    await admin.query("CREATE TABLE quorum_lock (id INT)");
    await admin.query("INSERT INTO quorum_lock VALUES (7)");
    const opened = session(mysql(pool(server)));
    await expectFault(acquire(opened, "k"), "BACKEND_WRONG_TYPE", /not one of the lock/);
    expect((await admin.query("SELECT * FROM quorum_lock"))[0]).toEqual([{ id: 7 }]);
  });

  test("somebody else's transaction holds the row: busy, in bounded time, and for that key only", async ({
    mariadb,
    pool,
    ready,
  }) => {
    const server = await mariadb();
    const session = await ready(server);
    const fence = await grant(session, "k");
    await session.release("k", ALICE);
    const other = await pool(server).getConnection();
    await other.beginTransaction();
    await other.query("SELECT * FROM quorum_lock WHERE k = 'k' FOR UPDATE");
    const waiting = timed(acquire(session, "k"));
    const beside = await timed(acquire(session, "other"));
    expect(beside.value?.kind).toBe("granted");
    expect(beside.ms).toBeLessThan(400);
    const { ms, error } = await waiting;
    const busy = checkFault(error, "BACKEND_BUSY", /transaction holds the row.*1205/);
    expect(busy.effect).toBe("none");
    expect(ms).toBeLessThan(ANSWER_MS + SLACK_MS);
    await other.rollback();
    other.release();
    expect((await session.inspect("k")).lock, "nothing of the refused one is left").toBeUndefined();
    expect(await grant(session, "k", { owner: BOB })).toBeGreaterThan(fence);
  });

  test("binlog_format = STATEMENT is refused with words that say what is needed", async ({
    mariadb,
    pool,
    session,
  }) => {
    const server = await mariadb(["--log-bin", "--binlog-format=STATEMENT"]);
    const opened = session(mysql(pool(server)));
    await expectFault(opened.status(), "BACKEND_UNSUPPORTED", /ROW or MIXED/);
  });

  test("another server_id, as after a failover to a replica, is another memory", async ({
    mariadb,
    pool,
    ready,
  }) => {
    const server = await mariadb();
    const session = await ready(server);
    const before = await session.status();
    await grant(session, "k");
    const admin = await pool(server).getConnection();
    await admin.query("SET GLOBAL server_id = 77");
    const [others] = await admin.query(
      "SELECT id FROM information_schema.PROCESSLIST WHERE id <> CONNECTION_ID()",
    );
    for (const { id } of others as { id: number }[]) await admin.query(`KILL ${id}`);
    admin.release();
    await eventually(
      "it noticed",
      RECOVERY_MS,
      async () => (await session.status()).identity.incarnation !== before.identity.incarnation,
    );
    expect(await session.status()).toMatchObject({ kind: "quarantined", joined: true });
    expect((await acquire(session, "k2")).kind).toBe("quarantined");
  });
});
