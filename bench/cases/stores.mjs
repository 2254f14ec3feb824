/**
 * Stores beside Redis whose adapters send what is asked for in one turn together: acquire and release of free keys over one of each, beside
 * its client with one statement for each.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "libsql";
import pg from "pg";
import { createLocker } from "../../dist/index.js";
import { postgres } from "../../dist/adapters/postgres.js";
import { sqlite } from "../../dist/adapters/sqlite.js";
import { startPostgres } from "../../test/servers/sql-server.mjs";
import { inTurns, measure, median } from "../measure.mjs";

const TTL_MS = 10_000;
const SUBJECTS = ["bare", "quorum-lock"];
const AT_ONCE = [1, 128];
/** As many as a client of pg opens by itself; the adapter has four. */
const POOL = 10;

/** @param {import("../plan.mjs").Plan} plan */
export async function stores(plan) {
  const rows = [];
  for (const { name, open } of [
    { name: "PostgreSQL", open: onPostgres },
    { name: 'SQLite, `synchronous: "full"`', open: onSqlite },
  ]) {
    const { subjects, close } = await open();
    for (const concurrency of AT_ONCE) {
      const cycles = concurrency === 1 ? plan.storeCycles : 4 * plan.storeCycles;
      const runs = await inTurns(SUBJECTS, 1, (subject, round) =>
        measure(subjects[subject], { cycles, concurrency, prefix: `${subject}:${concurrency}:${round}` }),
      );
      for (const subject of SUBJECTS) {
        const of = (field) => median(runs[subject].map((run) => run[field]));
        rows.push({
          store: name,
          subject,
          concurrency,
          p50: of("p50"),
          perSecond: of("perSecond"),
          cpu: of("cpu"),
        });
      }
      plan.tell(`${name}, ${concurrency} at once: done`);
    }
    await close();
  }
  return rows;
}

async function onPostgres() {
  const server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: POOL });
  await pool.query("CREATE TABLE bare (key text PRIMARY KEY, owner text, expires_at timestamptz)");
  const bare = {
    async acquire(key) {
      const owner = randomBytes(16).toString("hex");
      await pool.query(
        `INSERT INTO bare VALUES ($1, $2, now() + interval '10 seconds') ON CONFLICT DO NOTHING`,
        [key, owner],
      );
      return () => pool.query("DELETE FROM bare WHERE key = $1 AND owner = $2", [key, owner]);
    },
  };
  const ours = await lockerOn(postgres(pool));
  return {
    subjects: { bare, "quorum-lock": ours },
    async close() {
      await ours.close();
      await pool.end();
      await server.stop();
    },
  };
}

async function onSqlite() {
  const folder = mkdtempSync(join(tmpdir(), "quorum-lock-bench-"));
  const database = new Database(join(folder, "locks.db"));
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = full");
  database.exec("CREATE TABLE bare (key TEXT PRIMARY KEY, owner TEXT, expires_ms REAL)");
  const insert = database.prepare("INSERT INTO bare VALUES (?, ?, ?) ON CONFLICT DO NOTHING");
  const remove = database.prepare("DELETE FROM bare WHERE key = ? AND owner = ?");
  const bare = {
    async acquire(key) {
      const owner = randomBytes(16).toString("hex");
      insert.run(key, owner, Date.now() + TTL_MS);
      return async () => remove.run(key, owner);
    },
  };
  const ours = await lockerOn(sqlite(database, { synchronous: "full" }));
  return {
    subjects: { bare, "quorum-lock": ours },
    async close() {
      await ours.close();
      database.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function lockerOn(backend) {
  const locker = createLocker({ backends: [backend], ttlMs: TTL_MS, waitMs: 0 });
  // A store that was just made is put into service by its first acquire.
  await (await locker.acquire("warm-up", { waitMs: 5_000 })).release();
  return {
    async acquire(key) {
      const lease = await locker.acquire(key);
      return () => lease.release();
    },
    close: () => locker.close(),
  };
}
