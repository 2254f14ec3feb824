/** Connections of the adapter's own to one PostgreSQL: safe settings, bounded statements, and who answers. */
import type { BackendError } from "../../errors.js";
import { shareLanes, type Lane, type Lanes, type SharedLanes } from "../shared/lanes.js";
import type { PostgresLike, Server } from "./client.js";
import { connectFaultOf, faultOf, timeoutFault } from "./faults.js";

/** A row, all columns as text. */
export type Row = readonly (string | null)[];

/** A statement that is parsed once for each connection. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/** One connection. */
export interface PostgresLane extends Lane {
  /** System identifier and timeline: a failover or a restore to a point in time begins another timeline. */
  readonly origin: string;
  /** System identifier and start of the server: a promoted copy of a server shares only the first. */
  readonly serverId: string;
  run(backend: string, statement: Statement, values: readonly unknown[]): Promise<readonly Row[]>;
}

/**
 * A server that does not answer a statement within this time is given up, and its connections with it. Waiting for a row
 * that somebody else's transaction holds ends earlier, by the server's own hand, and surely without an effect.
 */
const ANSWER_MS_MAX = 1_000;
const LOCK_MS_MAX = 400;
const STATEMENT_MS_MAX = 800;
const CONNECT_MS_MAX = 1_000;
const WAIT_MS_MAX = 2_000;

const STANDBY = "standby";

/**
 * Whatever the caller, the database or the role may have set: read committed, so that a statement sees what the one
 * that it waited for has written; and no answer before it is on disk. Stronger settings (standbys) stay. Rows are found by
 * their keys and in the order of these, also by plans that were made while the table was small; and nothing is compiled for
 * it, which a planner that is forced calls for.
 */
const SETTINGS = `SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off;
SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET jit = off; SET lock_timeout = ${LOCK_MS_MAX}; SET statement_timeout = ${STATEMENT_MS_MAX};
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');
SELECT system_identifier::text, CASE WHEN pg_is_in_recovery() THEN '${STANDBY}' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
  extract(epoch FROM pg_postmaster_start_time())::text FROM pg_control_system()`;

const shared = new WeakMap<object, SharedLanes<PostgresLane>>();

/** The connections that belong to a caller's client; every call must be followed by one `leave()`. */
export function connect(client: PostgresLike, server: Server, lanesMax: number): Lanes<PostgresLane> {
  const lanes = shareLanes(shared, client, {
    lanesMax,
    waitMsMax: WAIT_MS_MAX,
    open: (backend) => open(server, backend, () => lanes.suspect()),
  });
  return lanes;
}

/** Whatever the caller has set. */
const CLIENT_SETTINGS = {
  connectionTimeoutMillis: CONNECT_MS_MAX,
  keepAlive: true,
  // The adapter's own bounds take their place.
  query_timeout: 0,
  statement_timeout: 0,
  lock_timeout: 0,
  idle_in_transaction_session_timeout: 0,
  pipeline: false,
  binary: false,
};

/** A connection on which a channel is heard. */
export interface Listening {
  /** Whether it still answers; it is given up when it does not. */
  check(): Promise<boolean>;
  destroy(): void;
}

/** Listens to a channel, of whose name nothing needs to be quoted. Rejects when that is not possible now, in bounded time. */
export async function listen(
  server: Server,
  channel: string,
  on: { readonly call: (payload: string) => void; readonly gone: () => void },
): Promise<Listening> {
  const client = server.make(CLIENT_SETTINGS);
  let over = false;
  const end = (): void => {
    if (over) return;
    over = true;
    client.connection.stream.destroy();
    on.gone();
  };
  // Without a listener an error of a connection ends the process.
  client.on("error", end);
  client.on("end", end);
  client.on("notification", ({ payload = "" }) => on.call(payload));
  const ask = (text: string): Promise<unknown> =>
    bounded(
      () => client.query(asTexts({ text })),
      () => timeoutFault(server.name, ANSWER_MS_MAX),
    );
  try {
    await client.connect();
    // A server may end sessions that do nothing; this one waits for a living.
    await ask(`SET idle_session_timeout = 0`).catch(() => undefined);
    await ask(`LISTEN ${channel}`);
    // The server's farewell may come in one piece with its answer.
    if (over) throw timeoutFault(server.name, ANSWER_MS_MAX);
  } catch (error) {
    end();
    throw error;
  }
  return {
    async check() {
      await ask("SELECT 1").catch(end);
      return !over;
    },
    destroy: end,
  };
}

async function open(server: Server, backend: string, onSilence: () => void): Promise<PostgresLane> {
  const client = server.make(CLIENT_SETTINGS);
  let usable = true;
  const destroy = (): void => {
    usable = false;
    client.connection.stream.destroy();
  };
  client.on("error", () => {
    usable = false;
  });
  client.on("end", () => {
    usable = false;
  });
  try {
    await client.connect();
    const rows = await bounded(
      () => client.query(asTexts({ text: SETTINGS })),
      () => timeoutFault(backend, ANSWER_MS_MAX),
    );
    const [system, timeline, started] = rows[0] ?? [];
    // A standby that is promoted keeps its connections, and has another timeline from then on.
    const forOnce = timeline === STANDBY;
    return {
      get usable() {
        return usable && !forOnce;
      },
      origin: `${system}.${timeline}`,
      serverId: `postgres ${system} ${started}`,
      destroy,
      end(): void {
        usable = false;
        client.end().catch(() => undefined);
      },
      async run(backend, { name, text }, values) {
        try {
          return await bounded(
            () => client.query(asTexts({ name, text, values })),
            () => {
              destroy();
              onSilence();
              return timeoutFault(backend, ANSWER_MS_MAX);
            },
          );
        } catch (error) {
          throw faultOf(backend, error);
        }
      },
    };
  } catch (error) {
    destroy();
    throw connectFaultOf(backend, error);
  }
}

/** Whatever types the application has taught pg. */
const TEXT = { getTypeParser: () => (value: unknown) => value };

function asTexts(config: object): object {
  return { ...config, rowMode: "array", types: TEXT };
}

/** The rows of the last result, unless it takes too long. */
function bounded(ask: () => Promise<unknown>, giveUp: () => BackendError): Promise<readonly Row[]> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(giveUp()), ANSWER_MS_MAX);
    ask().then(
      (result) => {
        clearTimeout(timer);
        const last: unknown = Array.isArray(result) ? result.at(-1) : result;
        resolve((last as { readonly rows: readonly Row[] }).rows);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
