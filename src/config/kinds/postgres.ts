/** PostgreSQL, through pg. */
import { given, LOGIN_FIELDS, TLS_FIELDS, type Kind } from "../kind.js";
import { loadPackage } from "../packages.js";

/** `postgres://` and `postgresql://` */
export const postgresKind: Kind = {
  kind: "postgres",
  schemes: { postgres: { tls: false }, postgresql: { tls: false } },
  forms: "postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE",
  fields: ["name", "table", "connectionsMax", "database", "socket", ...LOGIN_FIELDS, ...TLS_FIELDS],
  hosts: "one",
  port: 5432,
  pathIs: "database",
  packages: ["pg"],
  async open({ hosts: [server], path, fields, tls }) {
    const { postgres } = await import("../../adapters/postgres.js");
    const { default: pg } = await loadPackage("pg", "postgres:// backends need", () => import("pg"));
    // Never connected: the adapter only reads where it would connect to.
    const pool = new pg.Pool({
      ...(path === undefined ? {} : { host: path }),
      ...(server === undefined ? {} : { host: server.host, port: server.port }),
      ...given(fields, "user", "password", "database"),
      ...(tls === undefined ? {} : { ssl: tls }),
      max: 1,
    });
    pool.on("error", () => undefined);
    const backend = postgres(pool, given(fields, "name", "table", "connectionsMax"));
    return { backend, close: () => pool.end() };
  },
};
