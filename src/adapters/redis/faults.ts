/** What a failed command of a client means for the lock: one of ioredis, or of node-redis behind the same names. */
import { BackendError, type BackendErrorCode } from "../../errors.js";

/** First words of error replies. All of them are sure to have changed nothing, but for OOM and the last two. */
const REPLIES: ReadonlyMap<string, { readonly code: BackendErrorCode; readonly what: string }> = new Map([
  ["NOAUTH", { code: "BACKEND_AUTH", what: "it wants a password" }],
  ["WRONGPASS", { code: "BACKEND_AUTH", what: "it refuses the user name or password" }],
  ["NOPERM", { code: "BACKEND_NO_PERMISSION", what: "its ACL forbids what the lock needs" }],
  ["READONLY", { code: "BACKEND_READONLY", what: "it is a read-only replica" }],
  ["LOADING", { code: "BACKEND_LOADING", what: "it is still loading its data" }],
  ["BUSY", { code: "BACKEND_BUSY", what: "a script of somebody else is blocking it" }],
  ["MASTERDOWN", { code: "BACKEND_READONLY", what: "it is a replica without its master" }],
  ["OOM", { code: "BACKEND_OUT_OF_MEMORY", what: "it is out of memory" }],
  ["WRONGTYPE", { code: "BACKEND_WRONG_TYPE", what: "something else is stored under a key of the lock" }],
]);

/** What a node-redis client without a connection says. */
export const OFFLINE = "The client is offline";

const NOT_SENT = new Set([
  OFFLINE,
  "Stream isn't writeable and enableOfflineQueue options is false",
  "Cluster isn't ready and enableOfflineQueue options is false",
]);

/** The typed form of what the client rejected with. `lastError` is what its connection last reported. */
export function faultOf(backend: string, error: unknown, lastError: unknown): BackendError {
  const message = messageOf(error);
  if (NOT_SENT.has(message)) return notConnected(backend, lastError);
  if (isReplyError(error)) return refused(backend, error);
  if (message === "Command timed out") {
    return new BackendError(
      "BACKEND_TIMEOUT",
      { backend, what: "no answer in time (it may still act on the request)" },
      error,
    );
  }
  const what = `the connection broke before the answer (it may still act on the request): ${messageOf(lastError ?? error)}`;
  return new BackendError("BACKEND_DISCONNECTED", { backend, what }, error);
}

/** Why nothing can be sent. */
export function notConnected(backend: string, lastError: unknown): BackendError {
  if (isReplyError(lastError)) return refused(backend, lastError);
  const reason = lastError === undefined ? "" : `: ${messageOf(lastError)}`;
  return new BackendError("BACKEND_NOT_CONNECTED", { backend, what: `not connected${reason}` }, lastError);
}

function refused(backend: string, error: Error): BackendError {
  const { message } = error;
  // "ERR … script: f_…, on @user_script:…" and "… The user executing the script can't run this command" are ACLs too.
  if (message.includes("can't run this command") || message.includes("ACL failure in script")) {
    const what = `its ACL forbids what the lock needs (${message})`;
    return new BackendError("BACKEND_NO_PERMISSION", { backend, what }, error);
  }
  const known = REPLIES.get(message.split(" ", 1)[0] ?? "");
  if (known === undefined)
    return new BackendError("BACKEND_REFUSED", { backend, what: `it refused: ${message}` }, error);
  return new BackendError(known.code, { backend, what: `${known.what} (${message})` }, error);
}

function isReplyError(error: unknown): error is Error {
  return error instanceof Error && error.name === "ReplyError";
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join(", ");
  return error instanceof Error ? error.message || error.name : String(error);
}
