/** A bound for a call whose client has none. */
import { BackendError } from "../../errors.js";

/** What the bound needs to know. */
export interface Bound {
  readonly backend: string;
  readonly timeoutMs: number;
  /** Called when the time is up, to give up what is under way. */
  readonly onTimeout?: () => void;
}

/** As the call, but `BACKEND_TIMEOUT` when it has not settled in time; what it does later is nobody's business. */
export function within<T>(bound: Bound, call: () => Promise<T>): Promise<T> {
  const { backend, timeoutMs, onTimeout } = bound;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      const what = `no answer within ${timeoutMs} ms (it may still act on the request)`;
      reject(new BackendError("BACKEND_TIMEOUT", { backend, what }));
      onTimeout?.();
    }, timeoutMs);
    call()
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}
