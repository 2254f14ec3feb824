/** A place for conformance cases on a real PostgreSQL. */
import pg from "pg";
import { postgres } from "../../src/adapters/postgres.js";
import { freshName, type Place } from "../servers/adapter-conformance.ts";
import { startPostgres, type RunningSql } from "../servers/sql-server.mjs";

/** On a table of its own; `alone`: on a server of its own. */
export async function postgresPlace(shared: RunningSql, alone: boolean): Promise<Place> {
  const server = alone ? await startPostgres() : shared;
  const pool = new pg.Pool({ connectionString: server.url, max: 1 });
  pool.on("error", () => undefined);
  const table = freshName();
  return {
    backend: postgres(pool, { table, connectionsMax: 3 }),
    restart: {
      lost: async () => void (await pool.query(`DROP TABLE IF EXISTS "${table}"`)),
      kept: () => server.restart("kept"),
    },
    async close() {
      await pool.end();
      if (alone) await server.stop();
    },
  };
}
