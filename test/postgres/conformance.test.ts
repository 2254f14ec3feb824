/** The conformance list over a real PostgreSQL, in real time. */
import { afterAll, beforeAll } from "vitest";
import { describeAdapter } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startPostgres, type RunningSql } from "../servers/sql-server.mjs";
import { postgresPlace } from "./place.ts";

await describeWithServer("postgres", "the conformance list", () => {
  let shared: RunningSql;
  beforeAll(async () => {
    shared = await startPostgres();
  });
  afterAll(() => shared.stop());
  describeAdapter("over PostgreSQL", ({ alone }) => postgresPlace(shared, alone), { wakes: true });
});
