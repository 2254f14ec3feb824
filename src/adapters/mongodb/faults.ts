/** What a failed call of the MongoDB driver means for the lock. */
import { BackendError, type BackendErrorCode } from "../../errors.js";

/** Numbers of the server's errors. */
const REPLIES: ReadonlyMap<number, { readonly code: BackendErrorCode; readonly what: string }> = new Map([
  [18, { code: "BACKEND_AUTH", what: "it refuses the user name or password" }],
  [8000, { code: "BACKEND_AUTH", what: "it refuses the user name or password" }],
  [13, { code: "BACKEND_NO_PERMISSION", what: "its roles forbid what the lock needs" }],
  [10_107, { code: "BACKEND_READONLY", what: "it is not the primary" }],
  [13_435, { code: "BACKEND_READONLY", what: "it is not the primary" }],
  [10_058, { code: "BACKEND_READONLY", what: "it is not the primary" }],
  [50, { code: "BACKEND_TIMEOUT", what: "it gave up in time" }],
  [262, { code: "BACKEND_TIMEOUT", what: "it gave up in time" }],
  [64, { code: "BACKEND_TIMEOUT", what: "too few members confirmed the write (it may stay)" }],
]);

/** Names of the driver's errors before which nothing was sent. */
const NOT_SENT: ReadonlySet<string> = new Set([
  "MongoServerSelectionError",
  "MongoTopologyClosedError",
  "MongoNotConnectedError",
  "MongoClientClosedError",
  "MongoWaitQueueTimeoutError",
  "MongoPoolClosedError",
  "MongoPoolClearedError",
]);
const DUPLICATE = 11_000;

/** Whether a document of that id is there already. */
export function isDuplicate(error: unknown): boolean {
  return Reflect.get(Object(error), "code") === DUPLICATE;
}

/** The typed form of what the driver rejected with. */
export function faultOf(backend: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const fault = (code: BackendErrorCode, what: string): BackendError =>
    new BackendError(code, { backend, what }, error);
  const name = String(Reflect.get(Object(error), "name"));
  const reply = replyIn(error);
  if (reply !== undefined) return fault(reply.code, `${reply.what} (${messageOf(error)})`);
  if (NOT_SENT.has(name) || neverConnected(error)) return notConnected(backend, error);
  if (name === "MongoOperationTimeoutError") {
    return fault("BACKEND_TIMEOUT", "no answer in time (it may still act on the request)");
  }
  if (name.startsWith("MongoNetwork")) {
    return fault(
      "BACKEND_DISCONNECTED",
      `the connection broke before the answer (it may still act on the request): ${messageOf(error)}`,
    );
  }
  return fault("BACKEND_REFUSED", `it refused: ${messageOf(error)}`);
}

/** Why nothing can be sent. */
export function notConnected(backend: string, reason: unknown): BackendError {
  const reply = replyIn(reason);
  const why = reason === undefined ? "" : `: ${messageOf(reason)}`;
  if (reply !== undefined)
    return new BackendError(reply.code, { backend, what: `${reply.what}${why}` }, reason);
  return new BackendError("BACKEND_NOT_CONNECTED", { backend, what: `not connected${why}` }, reason);
}

/** What the server's own number says, wherever it stands among the causes. */
function replyIn(error: unknown): { readonly code: BackendErrorCode; readonly what: string } | undefined {
  for (const each of causes(error)) {
    const code: unknown = Reflect.get(Object(each), "code");
    const reply = typeof code === "number" ? REPLIES.get(code) : undefined;
    if (reply !== undefined) return reply;
  }
  return undefined;
}

/** A connection that was refused, or did not come to its handshake. */
function neverConnected(error: unknown): boolean {
  return causes(error).some((each) => {
    const code: unknown = Reflect.get(Object(each), "code");
    const labels: unknown = Reflect.get(Object(each), "errorLabelSet");
    return (
      (typeof code === "string" &&
        /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/.test(code)) ||
      (labels instanceof Set && labels.has("HandshakeError"))
    );
  });
}

function causes(error: unknown): readonly unknown[] {
  const all: unknown[] = [];
  for (let each = error; each !== undefined && each !== null && all.length < 8;) {
    all.push(each);
    each = Reflect.get(Object(each), "cause");
  }
  return all;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
