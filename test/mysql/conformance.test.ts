/** The conformance list over a real MariaDB, in real time, with the statements for MariaDB and with those for MySQL. */
import mysql2 from "mysql2/promise";
import { afterAll, beforeAll } from "vitest";
import { mysql } from "../../src/adapters/mysql.js";
import { describeAdapter, freshName, type Place } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startMariadb, type RunningSql } from "../servers/sql-server.mjs";

await describeWithServer("mariadb", "the conformance list", () => {
  let shared: RunningSql;
  beforeAll(async () => {
    shared = await startMariadb();
  });
  afterAll(() => shared.stop());

  for (const dialect of ["mariadb", "mysql"] as const) {
    const place = async ({ alone }: { readonly alone: boolean }): Promise<Place> => {
      const server = alone ? await startMariadb() : shared;
      const pool = mysql2.createPool({ uri: server.url, connectionLimit: 1 });
      const table = freshName();
      return {
        backend: mysql(pool, { table, connectionsMax: 3, dialect }),
        restart: {
          lost: async () => void (await pool.query(`DROP TABLE IF EXISTS \`${table}\``)),
          kept: () => server.restart(),
        },
        async close() {
          await pool.end();
          if (alone) await server.stop();
        },
      };
    };
    describeAdapter(`with the statements for ${dialect}`, place);
  }
});
