/** What a failed call of node-zookeeper-client means for the lock. */
import { BackendError, type BackendErrorCode } from "../../errors.js";

/** ZooKeeper's numbers for what went wrong. */
export const CODE = {
  connectionLoss: -4,
  noNode: -101,
  noAuth: -102,
  badVersion: -103,
  nodeExists: -110,
  sessionExpired: -112,
  authFailed: -115,
} as const;

/** The number in an error of the client; undefined where there is none. */
export function codeOf(error: unknown): number | undefined {
  const code: unknown = Reflect.get(Object(error), "code");
  return typeof code === "number" ? code : undefined;
}

/** The typed form of what a call was rejected with. `lastError` is what its connection last reported. */
export function faultOf(backend: string, error: unknown, lastError: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const fault = (code: BackendErrorCode, what: string): BackendError =>
    new BackendError(code, { backend, what }, error);
  switch (codeOf(error)) {
    case CODE.connectionLoss:
    case CODE.sessionExpired:
      return fault(
        "BACKEND_DISCONNECTED",
        `the connection broke before the answer (it may still act on the request): ${messageOf(lastError ?? error)}`,
      );
    case CODE.noAuth:
      return fault(
        "BACKEND_NO_PERMISSION",
        `its access lists forbid what the lock needs (${messageOf(error)})`,
      );
    case CODE.authFailed:
      return fault("BACKEND_AUTH", `it refuses the credentials (${messageOf(error)})`);
    default:
      return fault("BACKEND_REFUSED", `it refused: ${messageOf(error)}`);
  }
}

/** Why nothing can be sent. */
export function notConnected(backend: string, reason: unknown): BackendError {
  const why = reason === undefined ? "" : `: ${messageOf(reason)}`;
  return new BackendError("BACKEND_NOT_CONNECTED", { backend, what: `not connected${why}` }, reason);
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join(", ");
  return error instanceof Error ? error.message || error.name : String(error);
}
