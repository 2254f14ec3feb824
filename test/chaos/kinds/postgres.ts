/** PostgreSQL through pg. */
import pg from "pg";
import type * as Adapter from "../../../src/adapters/postgres.js";
import type { Kind } from "../kind.ts";
import { library } from "../library.ts";
import { started } from "./server.ts";

export const postgresKind: Kind = {
  name: "postgres",
  durable: true,
  setsClock: false,
  start: () => started("postgres"),
  async connect({ port, name }) {
    const { postgres } = await library<typeof Adapter>("adapters/postgres.js");
    const pool = new pg.Pool({ connectionString: `postgres://postgres@127.0.0.1:${port}/postgres` });
    pool.on("error", () => undefined);
    return { backend: postgres(pool, { name }), close: () => void pool.end().catch(() => undefined) };
  },
};
