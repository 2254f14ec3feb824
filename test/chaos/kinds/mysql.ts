/** MariaDB through mysql2. */
import mysql2 from "mysql2/promise";
import type * as Adapter from "../../../src/adapters/mysql.js";
import type { Kind } from "../kind.ts";
import { library } from "../library.ts";
import { started } from "./server.ts";

export const mysqlKind: Kind = {
  name: "mysql",
  durable: true,
  setsClock: false,
  start: () => started("mariadb"),
  async connect({ port, name }) {
    const { mysql } = await library<typeof Adapter>("adapters/mysql.js");
    const pool = mysql2.createPool({ uri: `mysql://test@127.0.0.1:${port}/test` });
    return { backend: mysql(pool, { name }), close: () => void pool.end().catch(() => undefined) };
  },
};
