/** A place for conformance cases in a file. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import Database from "libsql";
import { sqlite } from "../../src/adapters/sqlite.js";
import { freshName, type Place } from "../servers/adapter-conformance.ts";

/** In a file of its own in the folder. */
export function sqlitePlace(folder: string, synchronous: "normal" | "full"): Place {
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
}
