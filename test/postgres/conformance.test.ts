/** The conformance list over a real PostgreSQL, in real time. */
import { afterAll, beforeAll } from "vitest";
import { describeAdapter } from "../servers/adapter-conformance.ts";
import { inCompany } from "../servers/in-company.ts";
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
  describeAdapter(
    "over PostgreSQL, each operation in one statement with another one",
    async ({ alone }) => inCompany(await postgresPlace(shared, alone)),
    { wakes: true },
  );
});
