/** A place for conformance cases on a real MariaDB. */
import mysql2 from "mysql2/promise";
import { mysql, type MysqlBackendOptions } from "../../src/adapters/mysql.js";
import { freshName, type Place } from "../servers/adapter-conformance.ts";
import { startMariadb, type RunningSql } from "../servers/sql-server.mjs";

/** Which server, and with whose statements. */
export interface Where {
  readonly shared: RunningSql;
  readonly dialect: NonNullable<MysqlBackendOptions["dialect"]>;
  /** On a server of its own. */
  readonly alone: boolean;
}

/** On a table of its own. */
export async function mysqlPlace({ shared, dialect, alone }: Where): Promise<Place> {
  const server = alone ? await startMariadb() : shared;
  const pool = mysql2.createPool({ uri: server.url, connectionLimit: 1 });
  const table = freshName();
  return {
    backend: mysql(pool, { table, connectionsMax: 3, dialect }),
    restart: {
      lost: async () => void (await pool.query(`DROP TABLE IF EXISTS \`${table}\``)),
      kept: () => server.restart("kept"),
    },
    async close() {
      await pool.end();
      if (alone) await server.stop();
    },
  };
}
