/** What goes wrong between a client and a real PostgreSQL: each is a coded error that names backend and cause, in time. */
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect } from "vitest";
import { postgres, postgresSchema } from "../../src/adapters/postgres.js";
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
const ANSWER_MS = 1_000;
const RECOVERY_MS = 1_000;
const SLACK_MS = 400;

await describeWithServer("postgres", "a server that does not answer", () => {
  test("frozen: a fault after a second, and in service within a second of its return", async ({
    postgresServer,
    ready,
  }) => {
    const server = await postgresServer();
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
    checkFault(late.error, "BACKEND_NOT_CONNECTED", /does not answer|timeout/);
    expect(late.ms).toBeLessThan(ANSWER_MS + SLACK_MS);
    await server.thaw();
    const ms = await eventually("recovery after a freeze", RECOVERY_MS, () => session.status());
    figure("PostgreSQL: recovery after a freeze", `${ms.toFixed(0)} ms`);
    // What it executed when it woke is released like everything that got no answer.
    await Promise.all(asked.map((_, i) => session.release(`frozen-${i}`, ALICE)));
    for (let i = 0; i < asked.length; i++) await grant(session, `frozen-${i}`, { owner: BOB });
  });

  test("killed with requests under way: faults at once; back with lock, counter and incarnation", async ({
    postgresServer,
    ready,
  }) => {
    const server = await postgresServer();
    const session = await ready(server);
    const before = await session.status();
    const fence = await grant(session, "k", { ttlMs: 2_000 });
    const asked = Array.from({ length: 8 }, (_, i) => timed(acquire(session, `killed-${i}`)));
    await server.kill();
    const { error, ms } = await timed(acquire(session, "after"));
    checkFault(error, "BACKEND_NOT_CONNECTED", /ECONNREFUSED/);
    expect(ms).toBeLessThan(SLACK_MS);
    expect((await Promise.all(asked)).filter(({ ms }) => ms > ANSWER_MS + SLACK_MS)).toEqual([]);
    await server.restart("kept");
    await eventually("recovery after a kill", RECOVERY_MS, () => session.status());
    expect((await session.status()).identity.incarnation).toBe(before.identity.incarnation);
    expect((await session.inspect("k")).counter).toBe(fence);
    expect(await grant(session, "after")).toBeGreaterThan(fence);
  });

  test("nobody listens, and a host name that does not exist", async ({ pool, session }) => {
    const nobody = session(postgres(pool({ url: `postgres://x@127.0.0.1:${await freePort()}/x` })));
    const fault = await expectFault(acquire(nobody, "k"), "BACKEND_NOT_CONNECTED", /ECONNREFUSED/);
    expect(fault.effect).toBe("none");
    const nowhere = session(postgres(pool({ url: "postgres://x@no-such-host.invalid/x" })));
    await expectFault(acquire(nowhere, "k"), "BACKEND_NOT_CONNECTED", /ENOTFOUND|EAI_AGAIN/);
  });

  test("it accepts and never says anything", async ({ pool, session, after }) => {
    const deaf = createServer((socket) => socket.on("error", () => undefined));
    const port = await freePort();
    await new Promise<void>((resolve) => deaf.listen(port, "127.0.0.1", resolve));
    after(() => deaf.close());
    const opened = session(postgres(pool({ url: `postgres://x@127.0.0.1:${port}/x` })));
    const { ms, error } = await timed(acquire(opened, "k"));
    checkFault(error, "BACKEND_NOT_CONNECTED", /timeout/);
    expect(ms).toBeGreaterThan(ANSWER_MS - 100);
    expect(ms).toBeLessThan(ANSWER_MS + SLACK_MS);
  });
});

await describeWithServer("postgres", "what a server refuses", () => {
  test("a wrong password, an unknown database, too many connections", async ({
    postgresServer,
    admin,
    pool,
    session,
  }) => {
    const server = await postgresServer();
    const client = await admin(server);
    await client.query(
      "CREATE ROLE locks LOGIN PASSWORD 'right'; CREATE ROLE single LOGIN CONNECTION LIMIT 0",
    );
    await writeFile(
      join(server.dir, "data", "pg_hba.conf"),
      "host all locks all scram-sha-256\nhost all all all trust\n",
    );
    await client.query("SELECT pg_reload_conf()");
    const wrong = session(postgres(pool(as("locks:wrong", server))));
    const fault = await eventuallyFault(() => expectFault(acquire(wrong, "k"), "BACKEND_AUTH", /28P01/));
    expect(fault.effect).toBe("none");
    const none = session(postgres(pool(as("locks", server))));
    await expectFault(acquire(none, "k"), "BACKEND_AUTH", /wants a password/);
    const noDatabase = session(postgres(pool({ url: server.url.replace(/postgres$/, "nothing") })));
    await expectFault(acquire(noDatabase, "k"), "BACKEND_NOT_CONNECTED", /database "nothing" does not exist/);
    const full = session(postgres(pool(as("single", server)), { table: "single_locks" }));
    await expectFault(acquire(full, "k"), "BACKEND_NOT_CONNECTED", /too many connections/);
    await client.query(
      "ALTER ROLE single CONNECTION LIMIT 1; GRANT CREATE ON SCHEMA public TO locks, single",
    );
    await full.status();
    const crowd = await Promise.all(Array.from({ length: 20 }, (_, i) => full.inspect(`k-${i}`)));
    expect(crowd, "one connection serves all, where the server takes no more").toHaveLength(20);
    const right = session(postgres(pool(as("locks:right", server))));
    expect((await right.status()).kind).toBe("quarantined");
  });

  test("a user who may not make the table: the error says what to run, and after it all is well", async ({
    postgresServer,
    admin,
    pool,
    session,
  }) => {
    const server = await postgresServer();
    const client = await admin(server);
    await client.query("CREATE ROLE app LOGIN");
    const opened = session(postgres(pool(as("app", server)), { table: "locks.held" }));
    const statement = postgresSchema({ table: "locks.held" });
    const missing = await expectFault(acquire(opened, "k"), "BACKEND_NO_PERMISSION", /postgresSchema\(\)/);
    expect(missing.message).toContain(statement);
    expect(missing.effect).toBe("none");
    await client.query(`CREATE SCHEMA locks; GRANT USAGE ON SCHEMA locks TO app; ${statement}`);
    await expectFault(opened.status(), "BACKEND_NO_PERMISSION", /needs SELECT, INSERT, UPDATE and DELETE/);
    expect((await opened.examine()).findings).toContainEqual(
      expect.objectContaining({ level: "problem", topic: "access" }),
    );
    await client.query("GRANT SELECT, INSERT, UPDATE, DELETE ON locks.held TO app");
    const status = await opened.status();
    await opened.bootstrap(status.identity.incarnation);
    await grant(opened, "k");
    expect((await opened.examine()).findings.filter(({ level }) => level !== "good")).toEqual([]);
    await client.query("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC");
    expect(await opened.release("k", ALICE), "calls nobody, which it may not").toBe("released");
    await grant(opened, "k");
    expect(await opened.forceRelease("k")).toBe(true);
  });

  test("a table of somebody else is left alone", async ({ postgresServer, admin, pool, session }) => {
    const server = await postgresServer();
    const client = await admin(server);
    await client.query("CREATE TABLE quorum_lock (id int); INSERT INTO quorum_lock VALUES (7)");
    const opened = session(postgres(pool(server)));
    await expectFault(acquire(opened, "k"), "BACKEND_WRONG_TYPE", /not one of the lock/);
    expect((await client.query("SELECT * FROM quorum_lock")).rows).toEqual([{ id: 7 }]);
  });

  test("somebody else's transaction holds the row: busy, in bounded time, and for that key only", async ({
    postgresServer,
    admin,
    ready,
  }) => {
    const server = await postgresServer();
    const session = await ready(server);
    const fence = await grant(session, "k");
    await session.release("k", ALICE);
    const client = await admin(server);
    await client.query("BEGIN");
    await client.query("SELECT * FROM quorum_lock WHERE key = 'k' FOR UPDATE");
    const waiting = timed(acquire(session, "k"));
    const beside = await timed(acquire(session, "other"));
    expect(beside.value?.kind).toBe("granted");
    expect(beside.ms).toBeLessThan(300);
    const { ms, error } = await waiting;
    const busy = checkFault(error, "BACKEND_BUSY", /transaction holds the row.*55P03/);
    expect(busy.effect).toBe("none");
    expect(ms).toBeLessThan(ANSWER_MS);
    await client.query("ROLLBACK");
    expect((await session.inspect("k")).lock, "nothing of the refused one is left").toBeUndefined();
    expect(await grant(session, "k", { owner: BOB })).toBeGreaterThan(fence);
  });

  test("a hot standby is read-only; once it is promoted, its memory is another one", async ({
    postgresServer,
    admin,
    pool,
    ready,
    session: anotherSession,
  }) => {
    const server = await postgresServer(["-c", "restore_command=false"]);
    const session = await ready(server);
    const before = await session.status();
    await grant(session, "k", { ttlMs: 60_000 });
    await server.kill();
    await writeFile(join(server.dir, "data", "standby.signal"), "");
    await server.restart("kept");
    await eventually("it answers", RECOVERY_MS, async () =>
      expectFault(acquire(session, "k2"), "BACKEND_READONLY", /standby/),
    );
    expect((await session.examine()).findings).toContainEqual(
      expect.objectContaining({ level: "problem", topic: "role" }),
    );
    expect((await session.inspect("k")).lock?.owner).toBe(ALICE);
    const client = await admin(server);
    await client.query("SELECT pg_promote()");
    await eventually("it is promoted", 5_000, async () => (await session.status()).kind === "quarantined");
    const after = await session.status();
    expect(after).toMatchObject({ kind: "quarantined", joined: true });
    expect(after.identity.incarnation).not.toBe(before.identity.incarnation);
    expect((await acquire(session, "k2")).kind).toBe("quarantined");
    // Not by a connection from before, which knows nothing of the new timeline.
    const other = await anotherSession(postgres(pool(server))).status();
    expect(other.identity.incarnation).toBe(after.identity.incarnation);
    expect((await session.status()).identity.incarnation).toBe(after.identity.incarnation);
  });
});

/** A reload of the rules takes a moment. */
async function eventuallyFault<T>(ask: () => Promise<T>): Promise<T> {
  let last: T | undefined;
  await eventually("the rules were read", 3_000, async () => {
    last = await ask();
  });
  return last as T;
}
