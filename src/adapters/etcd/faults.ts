/** What a failed call of an etcd3 client means for the lock. */
import { BackendError, type BackendErrorCode } from "../../errors.js";
import { isNotSent } from "./policies.js";

/** What etcd says, by a part of its words. */
const REPLIES: readonly { readonly says: RegExp; readonly code: BackendErrorCode; readonly what: string }[] =
  [
    {
      says: /authentication failed|user name is empty|invalid auth token|auth: |authentication is not enabled|16 UNAUTHENTICATED/,
      code: "BACKEND_AUTH",
      what: "it refuses the user name or password",
    },
    {
      says: /permission denied|7 PERMISSION_DENIED/,
      code: "BACKEND_NO_PERMISSION",
      what: "its roles forbid what the lock needs",
    },
    {
      says: /database space exceeded/,
      code: "BACKEND_OUT_OF_MEMORY",
      what: "its storage quota is used up",
    },
    { says: /too many requests/, code: "BACKEND_BUSY", what: "it has more requests than it can serve" },
    {
      says: /rpc not supported for learner/,
      code: "BACKEND_READONLY",
      what: "it is a learner, which serves no requests",
    },
  ];

/** The typed form of what etcd3 rejected with. */
export function faultOf(backend: string, error: unknown): BackendError {
  if (error instanceof BackendError && error.backend === backend) return error;
  const message = messageOf(error);
  const known = REPLIES.find(({ says }) => says.test(message));
  if (known !== undefined) {
    return new BackendError(known.code, { backend, what: `${known.what} (${message})` }, error);
  }
  if (isNotSent(error)) {
    return new BackendError("BACKEND_NOT_CONNECTED", { backend, what: `not connected: ${message}` }, error);
  }
  if (message.includes("was already closed")) {
    return new BackendError(
      "BACKEND_NOT_CONNECTED",
      { backend, what: "not connected: its client was closed" },
      error,
    );
  }
  if (/4 DEADLINE_EXCEEDED|request timed out|leader changed|no leader/.test(message)) {
    const what = `no answer in time (it may still act on the request): ${message}`;
    return new BackendError("BACKEND_TIMEOUT", { backend, what }, error);
  }
  if (/14 UNAVAILABLE|13 INTERNAL|1 CANCELLED/.test(message)) {
    const what = `the connection broke before the answer (it may still act on the request): ${message}`;
    return new BackendError("BACKEND_DISCONNECTED", { backend, what }, error);
  }
  return new BackendError("BACKEND_REFUSED", { backend, what: `it refused: ${message}` }, error);
}

/** Sure to have changed nothing: the lease that was to be used has ended, or its memory is another one. */
export function isLeaseGone(error: unknown): boolean {
  return messageOf(error).includes("requested lease not found");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
