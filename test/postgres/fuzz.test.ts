/** The conformance fuzz on a real PostgreSQL, in real time. */
import { afterAll, beforeAll } from "vitest";
import { describeFuzz } from "../conformance/fuzz.ts";
import { placeContext } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startPostgres, type RunningSql } from "../servers/sql-server.mjs";
import { postgresPlace } from "./place.ts";

/** A server or a client that is not scheduled for a moment. */
const TOLERANCE_MS = 100;

await describeWithServer("postgres", "side by side with the memory adapter", () => {
  let server: RunningSql;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.stop());
  describeFuzz("PostgreSQL", async () => placeContext(await postgresPlace(server, false), TOLERANCE_MS));
});
