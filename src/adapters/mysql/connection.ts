/** Connections of the adapter's own to one MySQL or MariaDB: safe settings, bounded statements, and who answers. */
import type { BackendError } from "../../errors.js";
import { shareLanes, type Lane, type Lanes, type SharedLanes } from "../shared/lanes.js";
import { goodbye, type MysqlLike, type MysqlResult, type OwnConnection, type Server } from "./client.js";
import { connectFaultOf, faultOf, timeoutFault } from "./faults.js";

/** A row; texts and numbers as the statement casts them. */
export type Row = readonly unknown[];

/** A statement and its values in order. Texts are passed as bytes, which need no quoting under any `sql_mode`. */
export interface Asked {
  readonly sql: string;
  readonly values: readonly (number | Buffer | string)[];
}

/** Whose statements a server understands. */
export type Dialect = "mariadb" | "mysql";

/** One connection. */
export interface MysqlLane extends Lane {
  readonly dialect: Dialect;
  /** A replica has another one than its primary, so that a failover is noticed; a restart does not change it. */
  readonly origin: string;
  readonly serverId: string;
  rows(backend: string, asked: Asked): Promise<readonly Row[]>;
  change(backend: string, asked: Asked): Promise<MysqlResult>;
}

/** The server's own bound for row locks has a grain of a second, and must come first: it is surely without an effect. */
const LOCK_S_MAX = 1;
const ANSWER_MS_MAX = 1_400;
const WAIT_MS_MAX = 2_000;
const OPEN_MS_MAX = 1_400;

/** Whatever the caller, the server or the user may have set. */
const SETTINGS: readonly string[] = [
  `SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, time_zone = '+00:00',
  innodb_lock_wait_timeout = ${LOCK_S_MAX}, lock_wait_timeout = ${LOCK_S_MAX}`,
  "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

const WHO: Readonly<Record<Dialect, string>> = {
  // MariaDB has no server_uuid; whoever replicates must give each server another server_id.
  mariadb:
    "SELECT CONCAT('s', @@server_id), CONCAT_WS(' ', 'mariadb', @@hostname, @@port, @@datadir, @@server_id)",
  mysql: "SELECT @@server_uuid, CONCAT('mysql ', @@server_uuid)",
};

const shared = new WeakMap<object, SharedLanes<MysqlLane>>();

/** The connections that belong to a caller's client; every call must be followed by one `leave()`. */
export function connect(client: MysqlLike, server: Server, lanesMax: number): Lanes<MysqlLane> {
  const lanes = shareLanes(shared, client, {
    lanesMax,
    waitMsMax: WAIT_MS_MAX,
    open: (backend) => open(server, backend, () => lanes.suspect()),
  });
  return lanes;
}

async function open(server: Server, backend: string, onSilence: () => void): Promise<MysqlLane> {
  const connection = await opened(server, backend);
  let usable = true;
  const fail = (): void => {
    usable = false;
  };
  // Without a listener a lost connection would end the process.
  connection.on("error", fail);
  connection.on("end", fail);
  const destroy = (): void => {
    usable = false;
    connection.destroy();
  };
  const ask = (statement: Asked): Promise<unknown> =>
    bounded(connection, statement, () => {
      destroy();
      return timeoutFault(backend, ANSWER_MS_MAX);
    });
  try {
    for (const sql of SETTINGS) await ask({ sql, values: [] });
    const [[version]] = (await ask({ sql: "SELECT VERSION()", values: [] })) as [[string]];
    const dialect: Dialect = /mariadb/i.test(version) ? "mariadb" : "mysql";
    const [[origin, serverId]] = (await ask({ sql: WHO[dialect], values: [] })) as [[string, string]];

    const run = async (as: string, asked: Asked): Promise<unknown> => {
      try {
        return await bounded(connection, asked, () => {
          destroy();
          onSilence();
          return timeoutFault(as, ANSWER_MS_MAX);
        });
      } catch (error) {
        throw faultOf(as, error);
      }
    };
    return {
      dialect,
      origin,
      serverId,
      get usable() {
        return usable;
      },
      destroy,
      end(): void {
        usable = false;
        goodbye(connection);
      },
      rows: async (as, asked) => (await run(as, asked)) as readonly Row[],
      change: async (as, asked) => (await run(as, asked)) as MysqlResult,
    };
  } catch (error) {
    destroy();
    throw connectFaultOf(backend, error);
  }
}

/** Bounded here too: the client's own bound ends with the first word of the server. */
function opened(server: Server, backend: string): Promise<OwnConnection> {
  return new Promise((resolve, reject) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reject(connectFaultOf(backend, timeoutFault(backend, OPEN_MS_MAX)));
    }, OPEN_MS_MAX);
    server.open((error, connection) => {
      clearTimeout(timer);
      if (connection === undefined || (error !== null && error !== undefined)) {
        reject(connectFaultOf(backend, error));
      } else if (late) connection.destroy();
      else resolve(connection);
    });
  });
}

/** The answer to a statement, unless it takes too long. */
function bounded(
  connection: OwnConnection,
  { sql, values }: Asked,
  giveUp: () => BackendError,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(giveUp()), ANSWER_MS_MAX);
    connection.query({ sql, values, rowsAsArray: true }, (error, result) => {
      clearTimeout(timer);
      if (error === null || error === undefined) resolve(result);
      else reject(error instanceof Error ? error : faultOf("", error));
    });
  });
}
