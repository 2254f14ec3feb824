/** The conformance list over a real file, in real time. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "libsql";
import { afterAll, beforeAll } from "vitest";
import { sqlite } from "../../src/adapters/sqlite.js";
import { describeAdapter, freshName, type Place } from "../servers/adapter-conformance.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "quorum-lock-sqlite-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

for (const synchronous of ["normal", "full"] as const) {
  const place = async (): Promise<Place> => {
    const path = join(folder, `${freshName()}.db`);
    const client = new Database(path);
    return {
      backend: sqlite(client, { synchronous }),
      restart: {
        lost: async () => {
          for (const each of ["", "-wal", "-shm"]) await rm(path + each, { force: true });
        },
        // No server to start anew: what counts is what another connection finds, after the log was folded into the file.
        kept: async () => {
          client.exec("PRAGMA wal_checkpoint(TRUNCATE)");
        },
      },
      async close() {
        client.close();
      },
    };
  };
  describeAdapter(`of a file with synchronous ${synchronous}`, place);
}
