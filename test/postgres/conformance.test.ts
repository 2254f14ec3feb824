/** The conformance list over a real PostgreSQL, in real time. */
import pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { postgres } from "../../src/adapters/postgres.js";
import { describeAdapter, freshName, type Place } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startPostgres, type RunningSql } from "../servers/sql-server.mjs";

await describeWithServer("postgres", "the conformance list", () => {
  let shared: RunningSql;
  beforeAll(async () => {
    shared = await startPostgres();
  });
  afterAll(() => shared.stop());

  async function place({ alone }: { readonly alone: boolean }): Promise<Place> {
    const server = alone ? await startPostgres() : shared;
    const pool = new pg.Pool({ connectionString: server.url, max: 1 });
    pool.on("error", () => undefined);
    const table = freshName();
    return {
      backend: postgres(pool, { table, connectionsMax: 3 }),
      restart: {
        lost: async () => void (await pool.query(`DROP TABLE IF EXISTS "${table}"`)),
        kept: () => server.restart(),
      },
      async close() {
        await pool.end();
        if (alone) await server.stop();
      },
    };
  }

  describeAdapter("of a logged table", place);
});
