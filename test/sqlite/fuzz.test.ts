/** The conformance fuzz over a real file, in real time. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { describeFuzz } from "../conformance/fuzz.ts";
import { placeContext } from "../servers/adapter-conformance.ts";
import { sqlitePlace } from "./place.ts";

/** A process that is not scheduled for a moment. */
const TOLERANCE_MS = 100;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "quorum-lock-sqlite-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describeFuzz("SQLite", () => placeContext(sqlitePlace(folder, "normal"), TOLERANCE_MS));
