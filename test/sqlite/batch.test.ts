/** What is written in one turn of the event loop is one transaction, and each operation fares as it would alone. */
import Database from "libsql";
import { describe, expect } from "vitest";
import { sqlite } from "../../src/adapters/sqlite.js";
import type { BackendSession } from "../../src/backend.js";
import { expectTurnsAsSingles } from "../conformance/turns.ts";
import { acquire, ALICE, BOB, checkFault, expectFault, grant, timed } from "../redis/kit.ts";
import { test as sqliteTest } from "./kit.ts";

/** A session whose transactions are counted. */
interface Counted {
  readonly session: BackendSession;
  /** How many have begun to write since the last call. */
  readonly begun: () => number;
}

const test = sqliteTest.extend<{ counted: (path: string) => Promise<Counted> }>({
  counted: async ({ after, session }, use) => {
    await use(async (path) => {
      let count = 0;
      class Counting extends Database {
        override exec(sql: string): this {
          if (sql.startsWith("BEGIN")) count++;
          return super.exec(sql);
        }
      }
      const database = new Counting(path);
      after(() => database.close());
      const opened = session(sqlite(database), { maxTtlMs: 10_000 });
      const { identity } = await opened.status();
      await opened.bootstrap(identity.incarnation);
      count = 0;
      return {
        session: opened,
        begun() {
          const before = count;
          count = 0;
          return before;
        },
      };
    });
  },
});

/** Longer than another process may keep the file, as tests of operators have it. */
const BUSY_MS = 2_000;
const SLACK_MS = 500;

describe("operations of one turn on a file", () => {
  test("are one transaction, a bounded number in each; what is refused is none", async ({
    path,
    counted,
  }) => {
    const { session, begun } = await counted(path);
    const keys = Array.from({ length: 250 }, (_, i) => `k${i}`);
    const fences = await Promise.all(keys.map((key) => grant(session, key)));
    expect(new Set(fences).size).toBe(keys.length);
    expect(begun()).toBe(2);
    const held = await Promise.all(
      keys.map(async (key) => (await acquire(session, key, { owner: BOB })).kind),
    );
    expect([new Set(held), begun()]).toEqual([new Set(["held"]), 0]);
    const token = fences.reduce((a, b) => (a > b ? a : b)) + 7n;
    const [extended, other] = await Promise.all([
      session.extend({ key: "k1", owner: ALICE, ttlMs: 1_500, token, mayHeal: false }),
      grant(session, "other"),
      ...keys.slice(2).map((key) => session.release(key, ALICE)),
    ]);
    expect([extended.kind, begun()]).toEqual(["extended", 2]);
    expect((await session.inspect("other")).lock?.fence).toBe(other);
    for (const key of ["k2", "k249"]) expect((await session.inspect(key)).lock).toBeUndefined();
    await grant(session, "alone");
    expect(begun()).toBe(1);
  });

  test("random turns are answered as their operations one behind the other", async ({ path, ready }) => {
    const session = await ready(path, { deployment: { maxTtlMs: 10_000 } });
    await expectTurnsAsSingles(session, { seconds: 4, isFirstServed: true });
  });

  test("64 who want one key: exactly one is granted it", async ({ path, counted }) => {
    const { session } = await counted(path);
    const owners = Array.from({ length: 64 }, (_, i) => i.toString(16).padStart(32, "0"));
    const kinds = await Promise.all(
      owners.map(async (owner) => (await acquire(session, "k", { owner })).kind),
    );
    expect(kinds.toSorted()).toEqual(["granted", ...Array.from({ length: 63 }, () => "held")]);
  });

  for (const [how, what] of [
    ["ABORT", "one statement"],
    ["ROLLBACK", "the whole transaction"],
  ] as const) {
    test(`a failure stays with its own: a trigger that undoes ${what} for one key`, async ({
      path,
      database,
      ready,
    }) => {
      const session = await ready(path);
      database(path).exec(
        `CREATE TRIGGER poison BEFORE INSERT ON quorum_lock WHEN NEW.key = CAST('poison' AS BLOB)
         BEGIN SELECT RAISE(${how}, 'not this one'); END`,
      );
      const [first, poison, last] = ["first", "poison", "last"].map((key) => acquire(session, key));
      await expectFault(poison as Promise<unknown>, "BACKEND_REFUSED", /not this one/);
      expect([(await first)?.kind, (await last)?.kind]).toEqual(["granted", "granted"]);
      expect((await session.inspect("poison")).lock).toBeUndefined();
      expect((await session.inspect("first")).lock?.owner).toBe(ALICE);
    });
  }

  test("a damaged row fails its own operation only", async ({ path, database, ready }) => {
    const session = await ready(path);
    await grant(session, "damaged");
    database(path).exec("UPDATE quorum_lock SET counter = 'many' WHERE key = CAST('damaged' AS BLOB)");
    const [first, damaged, last] = ["first", "damaged", "last"].map((key) => acquire(session, key));
    await expectFault(damaged as Promise<unknown>, "BACKEND_WRONG_TYPE");
    expect([(await first)?.kind, (await last)?.kind]).toEqual(["granted", "granted"]);
  });

  test("what comes while another process writes is one transaction with those that wait already", async ({
    path,
    database,
    counted,
  }) => {
    const { session, begun } = await counted(path);
    const other = database(path);
    other.exec("BEGIN IMMEDIATE");
    const first = acquire(session, "first");
    await new Promise((resolve) => setImmediate(resolve));
    const later = Array.from({ length: 5 }, (_, i) => acquire(session, `k${i}`));
    expect((await session.inspect("first")).lock, "reading waits for nobody").toBeUndefined();
    other.exec("COMMIT");
    const tries = begun();
    expect((await first).kind).toBe("granted");
    expect((await Promise.all(later)).map(({ kind }) => kind)).toEqual(later.map(() => "granted"));
    // Those that met the lock have begun nothing.
    expect(begun()).toBe(1);
    expect(tries).toBeGreaterThan(0);
  });

  test("a reader of a file without WAL, for whom a commit has to wait: they wait together, not each for itself", async ({
    path,
    database,
    counted,
  }) => {
    database(path).exec("CREATE TABLE other (x)");
    const { session, begun } = await counted(path);
    const reader = database(path);
    reader.exec("BEGIN");
    reader.prepare("SELECT * FROM other").all();
    const granted = Array.from({ length: 100 }, (_, i) => acquire(session, `k${i}`));
    await new Promise((resolve) => setImmediate(resolve));
    // Each would hold up the event loop for as long as SQLite itself waits.
    expect(begun()).toBe(2);
    reader.exec("COMMIT");
    expect(new Set((await Promise.all(granted)).map(({ kind }) => kind))).toEqual(new Set(["granted"]));
    expect(begun()).toBeLessThan(granted.length);
  });

  test("another process that does not stop writing: each is refused in time, none hangs", async ({
    path,
    database,
    counted,
  }) => {
    const { session } = await counted(path);
    const other = database(path);
    other.exec("BEGIN IMMEDIATE");
    const asked = Array.from({ length: 200 }, (_, i) => timed(acquire(session, `k${i}`)));
    for (const { error, ms } of await Promise.all(asked)) {
      const fault = checkFault(error, "BACKEND_BUSY", /other processes keep its file locked/);
      expect(fault.effect).toBe("none");
      expect(ms).toBeLessThan(BUSY_MS + SLACK_MS);
    }
    other.exec("COMMIT");
    expect((await acquire(session, "k0")).kind).toBe("granted");
  });

  test("what was asked for in the turn of the close is written", async ({ path, ready }) => {
    const [session, observer] = [await ready(path), await ready(path)];
    await grant(session, "k");
    const released = session.release("k", ALICE);
    await session.close();
    expect(await released).toBe("released");
    expect((await observer.inspect("k")).lock).toBeUndefined();
  });
});
