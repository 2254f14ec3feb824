/** What a failed request to memcached means for the lock. */
import { BackendError, type BackendErrorCode } from "../../errors.js";

/** Statuses of refusals; with them nothing was changed. */
const REFUSALS: ReadonlyMap<number, { readonly code: BackendErrorCode; readonly what: string }> = new Map([
  [0x20, { code: "BACKEND_AUTH", what: "it refuses the user name or password, or wants one" }],
  [0x81, { code: "BACKEND_UNSUPPORTED", what: "it does not know a command that the lock needs" }],
  [0x82, { code: "BACKEND_OUT_OF_MEMORY", what: "it is out of memory" }],
  [0x85, { code: "BACKEND_BUSY", what: "it is busy" }],
]);

/** The typed form of a status that no operation expects. */
export function refused(backend: string, status: number): BackendError {
  const known = REFUSALS.get(status);
  const number = `status 0x${status.toString(16).padStart(2, "0")}`;
  if (known !== undefined) {
    return new BackendError(known.code, { backend, what: `${known.what} (${number})` });
  }
  return new BackendError("BACKEND_REFUSED", { backend, what: `it refused: ${number}` });
}

/** Why a connection is of no use any more. */
export interface LinkFailure {
  readonly cause: unknown;
  /** Whether it ever was a connection; before, nothing is sent. */
  readonly connected: boolean;
  readonly timedOut: boolean;
}

/** What that means for a request on it. */
export function linkFault(backend: string, { cause, connected, timedOut }: LinkFailure): BackendError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (/authentication failed/i.test(reason)) {
    const what = "it refuses the user name or password";
    return new BackendError("BACKEND_AUTH", { backend, what }, cause);
  }
  if (!connected) {
    return new BackendError("BACKEND_NOT_CONNECTED", { backend, what: `not connected: ${reason}` }, cause);
  }
  if (timedOut) {
    const what = "no answer in time (it may still act on the request)";
    return new BackendError("BACKEND_TIMEOUT", { backend, what }, cause);
  }
  const what = `the connection broke before the answer (it may still act on the request): ${reason}`;
  return new BackendError("BACKEND_DISCONNECTED", { backend, what }, cause);
}
