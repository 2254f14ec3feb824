/** MySQL and MariaDB, through mysql2. */
import { given, LOGIN_FIELDS, TLS_FIELDS, type Kind } from "../kind.js";
import { loadPackage } from "../packages.js";

/** `mysql://` and `mariadb://` */
export const mysqlKind: Kind = {
  kind: "mysql",
  schemes: { mysql: { tls: false }, mariadb: { tls: false } },
  forms: "mysql:// or mariadb://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE",
  fields: [
    "name",
    "table",
    "connectionsMax",
    "dialect",
    "database",
    "socket",
    ...LOGIN_FIELDS,
    ...TLS_FIELDS,
  ],
  hosts: "one",
  port: 3306,
  pathIs: "database",
  packages: ["mysql2"],
  check({ fields }, refuse): void {
    if (fields.database === undefined && fields.table?.includes(".") !== true) {
      throw refuse("database", "there, as in mysql://HOST/DATABASE, unless the table is DATABASE.TABLE");
    }
  },
  async open({ hosts: [server], path, fields, tls }) {
    const { mysql } = await import("../../adapters/mysql.js");
    const { createPool } = await loadPackage("mysql2", "mysql:// backends need", () => import("mysql2"));
    // Never connected: the adapter only reads where it would connect to.
    const pool = createPool({
      ...(path === undefined ? {} : { socketPath: path }),
      ...(server === undefined ? {} : { host: server.host, port: server.port }),
      ...given(fields, "user", "password", "database"),
      ...(tls === undefined ? {} : { ssl: { ...tls } }),
      connectionLimit: 1,
    });
    const backend = mysql(pool, given(fields, "name", "table", "connectionsMax", "dialect"));
    const close = (): Promise<void> => new Promise((resolve) => pool.end(() => resolve()));
    return { backend, close };
  },
};
