/** The conformance list over a real MariaDB, in real time, with the statements for MariaDB and with those for MySQL. */
import { afterAll, beforeAll } from "vitest";
import { describeAdapter } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startMariadb, type RunningSql } from "../servers/sql-server.mjs";
import { mysqlPlace } from "./place.ts";

await describeWithServer("mariadb", "the conformance list", () => {
  let shared: RunningSql;
  beforeAll(async () => {
    shared = await startMariadb();
  });
  afterAll(() => shared.stop());
  for (const dialect of ["mariadb", "mysql"] as const) {
    describeAdapter(`with the statements for ${dialect}`, ({ alone }) =>
      mysqlPlace({ shared, dialect, alone }),
    );
  }
});
