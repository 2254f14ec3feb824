/** The conformance list over a real file, in real time. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { describeAdapter } from "../servers/adapter-conformance.ts";
import { inCompany } from "../servers/in-company.ts";
import { sqlitePlace } from "./place.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "quorum-lock-sqlite-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

for (const synchronous of ["normal", "full"] as const) {
  describeAdapter(`of a file with synchronous ${synchronous}`, async () => sqlitePlace(folder, synchronous));
}
describeAdapter("of a file, each operation in one transaction with another one", async () =>
  inCompany(sqlitePlace(folder, "normal")),
);
