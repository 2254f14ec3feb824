/** The conformance fuzz on a real MariaDB, in real time, with the statements for MariaDB and with those for MySQL. */
import { afterAll, beforeAll } from "vitest";
import { describeFuzz } from "../conformance/fuzz.ts";
import { placeContext } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startMariadb, type RunningSql } from "../servers/sql-server.mjs";
import { mysqlPlace } from "./place.ts";

/** A server or a client that is not scheduled for a moment. */
const TOLERANCE_MS = 100;

await describeWithServer("mariadb", "side by side with the memory adapter", () => {
  let shared: RunningSql;
  beforeAll(async () => {
    shared = await startMariadb();
  });
  afterAll(() => shared.stop());
  for (const dialect of ["mariadb", "mysql"] as const) {
    describeFuzz(
      `the statements for ${dialect}`,
      async () => placeContext(await mysqlPlace({ shared, dialect, alone: false }), TOLERANCE_MS),
      { seconds: 5 },
    );
  }
});
