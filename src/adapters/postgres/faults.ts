/** What a failed statement of PostgreSQL means for the lock. */
import { BackendError, type BackendErrorCode } from "../../errors.js";

/** SQLSTATEs. A statement that failed with one of them is undone as a whole, but for the last ones. */
const STATES: ReadonlyMap<string, { readonly code: BackendErrorCode; readonly what: string }> = new Map([
  ["28P01", { code: "BACKEND_AUTH", what: "it refuses the user name or password" }],
  ["28000", { code: "BACKEND_AUTH", what: "it refuses the user" }],
  ["42501", { code: "BACKEND_NO_PERMISSION", what: "its access rules forbid what the lock needs" }],
  ["25006", { code: "BACKEND_READONLY", what: "it is a standby, or read-only" }],
  ["57P03", { code: "BACKEND_LOADING", what: "it is starting or shutting down" }],
  ["55P03", { code: "BACKEND_BUSY", what: "somebody else's transaction holds the row or the table" }],
  ["57014", { code: "BACKEND_BUSY", what: "it was too slow and gave the statement up" }],
  ["40001", { code: "BACKEND_BUSY", what: "somebody else's transaction was in the way" }],
  ["40P01", { code: "BACKEND_BUSY", what: "somebody else's transactions were in the way" }],
  ["53100", { code: "BACKEND_OUT_OF_MEMORY", what: "its disk is full" }],
  ["53200", { code: "BACKEND_OUT_OF_MEMORY", what: "it is out of memory" }],
  ["42703", { code: "BACKEND_WRONG_TYPE", what: "its table is not one of the lock" }],
  ["42804", { code: "BACKEND_WRONG_TYPE", what: "its table is not one of the lock" }],
  ["42883", { code: "BACKEND_WRONG_TYPE", what: "its table is not one of the lock" }],
  ["42809", { code: "BACKEND_WRONG_TYPE", what: "its table is not one of the lock" }],
  ["42P10", { code: "BACKEND_WRONG_TYPE", what: "its table is not one of the lock" }],
  ["57P01", { code: "BACKEND_DISCONNECTED", what: "it was shut down" }],
  ["57P02", { code: "BACKEND_DISCONNECTED", what: "it crashed" }],
  ["57P05", { code: "BACKEND_DISCONNECTED", what: "it ended an idle connection" }],
]);

/** The SQLSTATE of an error of the server; undefined for one of the connection. */
export function stateOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const code: unknown = Reflect.get(error, "code");
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && "severity" in error ? code : undefined;
}

/** The typed form of what a statement rejected with. */
export function faultOf(backend: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const state = stateOf(error);
  if (state === undefined) {
    const what = `the connection broke before the answer (it may still act on the request): ${messageOf(error)}`;
    return new BackendError("BACKEND_DISCONNECTED", { backend, what }, error);
  }
  const known = STATES.get(state);
  const what = `${known?.what ?? "it refused"} (${messageOf(error)}, SQLSTATE ${state})`;
  return new BackendError(known?.code ?? "BACKEND_REFUSED", { backend, what }, error);
}

/** The typed form of what connecting rejected with: nothing was asked. */
export function connectFaultOf(backend: string, error: unknown): BackendError {
  const known = STATES.get(stateOf(error) ?? "");
  if (error instanceof BackendError) {
    return new BackendError(
      "BACKEND_NOT_CONNECTED",
      { backend, what: "not connected: it does not answer" },
      error,
    );
  }
  if (known !== undefined && known.code !== "BACKEND_DISCONNECTED") return faultOf(backend, error);
  // pg itself misses a password that the server asks for.
  if (/password must be a string/.test(messageOf(error))) {
    return new BackendError(
      "BACKEND_AUTH",
      { backend, what: `it wants a password (${messageOf(error)})` },
      error,
    );
  }
  return new BackendError(
    "BACKEND_NOT_CONNECTED",
    { backend, what: `not connected: ${messageOf(error)}` },
    error,
  );
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
