/** What a failed statement of MySQL or MariaDB means for the lock. */
import { BackendError, type BackendErrorCode } from "../../errors.js";

interface Meaning {
  readonly code: BackendErrorCode;
  readonly what: string;
}

const NO_PERMISSION: Meaning = {
  code: "BACKEND_NO_PERMISSION",
  what: "its access rules forbid what the lock needs",
};
const READONLY: Meaning = { code: "BACKEND_READONLY", what: "it is a replica, or read-only" };
const IN_THE_WAY: Meaning = {
  code: "BACKEND_BUSY",
  what: "somebody else's transaction holds the row or the table",
};
const FULL: Meaning = { code: "BACKEND_OUT_OF_MEMORY", what: "it is out of memory or disk" };
const OTHER_TABLE: Meaning = { code: "BACKEND_WRONG_TYPE", what: "its table is not one of the lock" };
const GONE: Meaning = {
  code: "BACKEND_DISCONNECTED",
  what: "it ended the connection (it may have acted on the request)",
};
const BINLOG: Meaning = {
  code: "BACKEND_UNSUPPORTED",
  what: "with binlog_format = STATEMENT it cannot serve read committed; ROW or MIXED is needed",
};

/** Error numbers of the server. A statement that failed with one of them is undone as a whole. */
const NUMBERS: ReadonlyMap<number, Meaning> = new Map([
  [1045, { code: "BACKEND_AUTH", what: "it refuses the user name or password" }],
  [1698, { code: "BACKEND_AUTH", what: "it refuses the user" }],
  ...[1044, 1142, 1143, 1227, 1370].map((number) => [number, NO_PERMISSION] as const),
  ...[1290, 1792, 1836].map((number) => [number, READONLY] as const),
  ...[1205, 1213, 1020, 1969, 3024, 1317].map((number) => [number, IN_THE_WAY] as const),
  ...[1021, 1037, 1038, 1041, 1114].map((number) => [number, FULL] as const),
  ...[1054, 1136, 1292, 1364, 1366, 1406].map((number) => [number, OTHER_TABLE] as const),
  ...[1053, 1080, 1152, 1927, 4031].map((number) => [number, GONE] as const),
  ...[1598, 1665].map((number) => [number, BINLOG] as const),
]);

/** The number of an error of the server; undefined for one of the connection. */
export function numberOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const errno: unknown = Reflect.get(error, "errno");
  // Those of the system, such as ECONNREFUSED, are negative.
  return typeof errno === "number" && errno > 0 && "sqlState" in error ? errno : undefined;
}

/** The typed form of what a statement rejected with. */
export function faultOf(backend: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const number = numberOf(error);
  if (number === undefined) {
    const what = `the connection broke before the answer (it may still act on the request): ${messageOf(error)}`;
    return new BackendError("BACKEND_DISCONNECTED", { backend, what }, error);
  }
  const known = NUMBERS.get(number);
  const what = `${known?.what ?? "it refused"} (${messageOf(error)}, error ${number})`;
  return new BackendError(known?.code ?? "BACKEND_REFUSED", { backend, what }, error);
}

/** The typed form of what connecting rejected with: nothing was asked. */
export function connectFaultOf(backend: string, error: unknown): BackendError {
  const known = NUMBERS.get(numberOf(error) ?? 0);
  if (known !== undefined && known !== GONE) return faultOf(backend, error);
  const reason = error instanceof BackendError ? "it does not answer" : messageOf(error);
  return new BackendError("BACKEND_NOT_CONNECTED", { backend, what: `not connected: ${reason}` }, error);
}

/** Why a statement was given up. */
export function timeoutFault(backend: string, withinMs: number): BackendError {
  const what = `no answer within ${withinMs} ms (it may still act on the request)`;
  return new BackendError("BACKEND_TIMEOUT", { backend, what });
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join(", ");
  return error instanceof Error ? error.message || error.name : String(error);
}
