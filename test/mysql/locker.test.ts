/** A locker over MariaDB: one server as a quorum of one, beside other code, through every flavour of mysql2. */
import callbacks from "mysql2";
import promises from "mysql2/promise";
import { expect } from "vitest";
import { mysql, type MysqlBackendOptions, type MysqlLike } from "../../src/adapters/mysql.js";
import { LockHeldError } from "../../src/errors.js";
import type { Locker } from "../../src/lock/locker.js";
import { acquire, ALICE, BOB, eventually, figure, grant, putInService } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { test } from "./kit.ts";

const CONTENDERS = 64;
const DIALECTS: readonly NonNullable<MysqlBackendOptions["dialect"]>[] = ["mariadb", "mysql"];

await describeWithServer("mariadb", "a locker over one MariaDB", () => {
  test("acquires, extends, hands over and releases; a kill -9 under a lease keeps the lock; no warning", async ({
    mariadb,
    pool,
    locker,
  }) => {
    const server = await mariadb();
    const warnings: string[] = [];
    const make = (): Locker => {
      const made = locker({ backends: [mysql(pool(server))], ttlMs: 15_000 });
      made.on("warning", ({ text }) => warnings.push(text));
      return made;
    };
    const [one, other] = [make(), make()];
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

  test("64 contenders at once, in both dialects: exactly one grant in each round, tokens increase", async ({
    mariadb,
    ready,
    pool,
    session,
  }) => {
    const server = await mariadb();
    for (const dialect of DIALECTS) {
      const table = `contended_${dialect}`;
      const sessions = [
        await ready(server, { dialect, table }),
        ...[1, 2, 3].map(() => session(mysql(pool(server), { dialect, table }))),
      ];
      let last = 0n;
      for (const key of ["fresh", "fresh", "fresh", "second"]) {
        const replies = await Promise.all(
          Array.from({ length: CONTENDERS }, async (_, i) => {
            const owner = i.toString(16).padStart(32, "0");
            const on = sessions[i % 4] ?? sessions[0];
            if (on === undefined) throw new Error("no session");
            return { owner, reply: await acquire(on, key, { owner, ttlMs: 20_000 }) };
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
    }
  });

  test("works through every flavour of client and whatever the server's defaults are, and changes nothing of the caller's", async ({
    mariadb,
    after,
    session,
  }) => {
    const server = await mariadb([
      "--transaction-isolation=SERIALIZABLE",
      "--autocommit=0",
      "--sql-mode=ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,SIMULTANEOUS_ASSIGNMENT,EMPTY_STRING_IS_NULL",
      "--default-time-zone=+05:45",
      "--character-set-server=latin1",
    ]);
    const uri = server.url;
    const config = { uri, rowsAsArray: false, typeCast: false, multipleStatements: true, dateStrings: true };
    const core = callbacks.createConnection(config);
    const promised = await promises.createConnection(config);
    const corePool = callbacks.createPool(config);
    const promisedPool = promises.createPool(config);
    const pooled = await promisedPool.getConnection();
    after(() => {
      core.destroy();
      promised.destroy();
      corePool.end();
      pooled.release();
      return promisedPool.end();
    });
    await promised.query("START TRANSACTION");
    await promised.query("CREATE TABLE work (n INT)");
    const flavours: readonly MysqlLike[] = [core, promised, corePool, promisedPool, pooled];
    const listeners = core.eventNames();
    for (const [i, flavour] of flavours.entries()) {
      const opened = session(mysql(flavour));
      await putInService(opened);
      const rounds = await Promise.all(
        Array.from({ length: 20 }, async (_, n) => {
          const owner = n.toString(16).padStart(32, "0");
          return (await acquire(opened, `key-${i}-${n % 4}`, { owner })).kind;
        }),
      );
      expect(rounds.filter((kind) => kind === "granted")).toHaveLength(4);
      expect(rounds.filter((kind) => kind === "held")).toHaveLength(16);
      await opened.close();
    }
    expect(core.eventNames()).toEqual(listeners);
    expect(core.config.connectTimeout).toBe(10_000);
    const [isolation] = await promised.query("SELECT @@tx_isolation AS level");
    expect(isolation).toEqual([{ level: expect.anything() as unknown }]);
    await eventually("its own connections are gone", 2_000, async () => {
      const [left] = await promised.query({ sql: "SHOW PROCESSLIST", rowsAsArray: true });
      return (left as unknown[]).length === 3;
    });
  });

  test("TRUNCATE is a loss of memory", async ({ mariadb, pool, ready }) => {
    const server = await mariadb();
    const session = await ready(server);
    const before = await session.status();
    await pool(server).query("TRUNCATE quorum_lock");
    expect((await acquire(session, "k")).kind).toBe("quarantined");
    const truncated = await session.status();
    expect(truncated.identity.incarnation).not.toBe(before.identity.incarnation);
  });

  test("counters are deleted after their retention, live locks and the mark never", async ({
    mariadb,
    pool,
    ready,
  }) => {
    const server = await mariadb();
    const session = await ready(server, { deployment: { tokenRetentionMs: 300 } });
    await grant(session, "live", { ttlMs: 60_000 });
    for (let i = 0; i < 600; i++) {
      await grant(session, `old-${i}`);
      await session.release(`old-${i}`, ALICE);
    }
    const admin = pool(server);
    const count = async (): Promise<number> => {
      const [rows] = await admin.query({ sql: "SELECT COUNT(*) FROM quorum_lock", rowsAsArray: true });
      return Number((rows as number[][])[0]?.[0]);
    };
    const ms = await eventually("only the lock and the mark are left", 15_000, async () => {
      await acquire(session, "live", { owner: BOB });
      return (await count()) === 2;
    });
    figure("MariaDB: 600 old counters deleted behind the traffic", `${ms.toFixed(0)} ms`);
    expect((await session.inspect("live")).lock?.owner).toBe(ALICE);
    expect((await session.status()).kind).toBe("in-service");
  });
});
