/** What ends with a process, with the host, and with the file. */
import { rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { expect } from "vitest";
import { sqlite } from "../../src/adapters/sqlite.js";
import { InvalidOptionError } from "../../src/errors.js";
import { acquire, ALICE, BOB, eventually, expectFault, figure, grant, putInService } from "../redis/kit.ts";
import { test } from "./kit.ts";

const HOUR_MS = 3_600_000;

test("after a start of the host all locks are free at once, counters stay, and it is in service", async ({
  path,
  onHost,
}) => {
  const wallMs = (): number => Date.now();
  const before = onHost(path, { bootId: "first", monotonicMs: () => HOUR_MS + performance.now(), wallMs });
  await putInService(before);
  const fence = await grant(before, "k", { ttlMs: 60_000 });
  expect((await acquire(before, "k", { owner: BOB })).kind).toBe("held");
  // The monotonic clock begins anew: by its reading the lock would last for another hour.
  const bootedAt = Date.now();
  const after = onHost(path, {
    bootId: "second",
    monotonicMs: () => performance.now(),
    wallMs,
    bootedAtWallMs: () => bootedAt,
  });
  expect((await after.status()).kind).toBe("in-service");
  expect((await after.inspect("k")).lock).toBeUndefined();
  expect(await grant(after, "k", { owner: BOB })).toBeGreaterThan(fence);
  expect((await after.inspect("k")).lock?.remainingMs).toBeLessThan(HOUR_MS);
});

test("a wall clock that was wrong before the start cannot lengthen a lock of before", async ({
  path,
  onHost,
}) => {
  const before = onHost(path, { bootId: "first" });
  await putInService(before);
  await grant(before, "k", { ttlMs: 60_000 });
  const bootedAt = Date.now() + 10;
  const after = onHost(path, { bootId: "second", bootedAtWallMs: () => bootedAt });
  expect((await acquire(after, "k", { owner: BOB })).kind).toBe("granted");
});

test("a container with a boot id of its own, which started before the lock was written, respects it until its end by the wall clock", async ({
  path,
  onHost,
}) => {
  const one = onHost(path, { bootId: "one" });
  await putInService(one);
  const bootedAt = Date.now() - HOUR_MS;
  await grant(one, "k", { ttlMs: 700 });
  const other = onHost(path, {
    bootId: "other",
    monotonicMs: () => performance.now(),
    bootedAtWallMs: () => bootedAt,
  });
  const refused = await acquire(other, "k", { owner: BOB });
  expect(refused.kind === "held" && (refused.remainingMs ?? 0) > 0 && (refused.remainingMs ?? 0) <= 700).toBe(
    true,
  );
  await eventually(
    "it ended",
    3_000,
    async () => (await acquire(other, "k", { owner: BOB })).kind === "granted",
  );
  expect((await acquire(one, "k")).kind).toBe("held");
});

test("a step of the wall clock neither ends nor lengthens a lock", async ({ path, onHost }) => {
  let stepMs = 0;
  const session = onHost(path, { wallMs: () => Date.now() + stepMs });
  await putInService(session);
  await grant(session, "k", { ttlMs: 60_000 });
  stepMs = HOUR_MS;
  expect((await acquire(session, "k", { owner: BOB })).kind).toBe("held");
  stepMs = -HOUR_MS;
  const { lock } = await session.inspect("k");
  expect(lock?.owner).toBe(ALICE);
  expect(lock?.remainingMs).toBeLessThanOrEqual(60_000);
});

test("a file that was deleted or replaced is another memory, also for who has it open", async ({
  path,
  ready,
}) => {
  const session = await ready(path);
  const first = await session.status();
  await grant(session, "k", { ttlMs: 60_000 });
  await rm(path);
  expect((await acquire(session, "k", { owner: BOB })).kind).toBe("quarantined");
  const second = await session.status();
  expect(second.identity.incarnation).not.toBe(first.identity.incarnation);
  await putInService(session);
  await rename(path, `${path}.old`);
  expect((await acquire(session, "k", { owner: BOB })).kind).toBe("quarantined");
});

test("a file that is no database, and one in a folder that is gone", async ({
  path,
  database,
  session,
  after,
}) => {
  const client = database(path);
  const opened = session(sqlite(client));
  await opened.status();
  for (const each of ["", "-wal", "-shm"]) await rm(path + each, { force: true });
  await writeFile(path, "this is no database at all ".repeat(100));
  await expectFault(acquire(opened, "k"), "BACKEND_WRONG_TYPE", /no database/);
  const folder = dirname(path);
  await rename(folder, `${folder}-moved`);
  after(() => rm(`${folder}-moved`, { recursive: true }));
  const gone = await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /cannot be opened/);
  expect(gone.effect).toBe("none");
});

test("a table of somebody else is left alone", async ({ path, database, session }) => {
  const client = database(path);
  client.exec("CREATE TABLE quorum_lock (id INTEGER); INSERT INTO quorum_lock VALUES (7)");
  const opened = session(sqlite(client));
  await expectFault(acquire(opened, "k"), "BACKEND_WRONG_TYPE", /not one of the lock/);
  expect(client.prepare("SELECT * FROM quorum_lock").all()).toEqual([{ id: 7 }]);
});

test("a network file system is refused, with words that say why", async ({ path, onHost }) => {
  const session = onHost(path, { fileSystem: () => 0x69_69 });
  await expectFault(acquire(session, "k"), "BACKEND_UNSUPPORTED", /NFS, which several hosts may share/);
});

test("a database in memory, and what is no database, are refused at once", async ({ database }) => {
  expect(() => sqlite(database(":memory:"))).toThrow(InvalidOptionError);
  expect(() => sqlite({} as never)).toThrow(/an open database of better-sqlite3, libsql or node:sqlite/);
});

test("counters are deleted after their retention, live locks and the mark never", async ({
  path,
  database,
  ready,
}) => {
  const session = await ready(path, { deployment: { tokenRetentionMs: 300 } });
  await grant(session, "live", { ttlMs: 60_000 });
  for (let i = 0; i < 600; i++) {
    await grant(session, `old-${i}`);
    await session.release(`old-${i}`, ALICE);
  }
  const client = database(path);
  const count = (): number =>
    (client.prepare("SELECT count(*) AS n FROM quorum_lock").all() as { n: number }[])[0]?.n ?? 0;
  const ms = await eventually("only the lock and the mark are left", 10_000, async () => {
    await acquire(session, "live", { owner: BOB });
    return count() === 2;
  });
  figure("SQLite: old counters deleted behind the traffic", `${ms.toFixed(0)} ms`);
  expect((await session.inspect("live")).lock?.owner).toBe(ALICE);
  expect((await session.status()).kind).toBe("in-service");
});
