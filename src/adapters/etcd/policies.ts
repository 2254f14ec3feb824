/**
 * How an etcd3 client must treat failures so that a lock can rely on it: nothing that may have been sent is sent again, no
 * breaker stays open for seconds, and where a member of the cluster is down the others are asked.
 */
import { BackendError } from "../../errors.js";

/** The shape of a cockatiel policy, as etcd3 takes it. */
export interface EtcdPolicy {
  readonly _altReturn: never;
  readonly onSuccess: () => { readonly dispose: () => void };
  readonly onFailure: () => { readonly dispose: () => void };
  execute<T>(run: (context: { readonly signal: AbortSignal }) => PromiseLike<T> | T): Promise<T>;
}

/** One per client: what is known of its hosts is shared by its policies. */
export interface EtcdPolicies {
  readonly host: (hostname: string) => EtcdPolicy;
  readonly global: EtcdPolicy;
}

/** For how long a member that failed is passed over, while there are others. */
const PASSED_OVER_MS = 5_000;

const ours = new WeakSet<object>();

/** Whether a policy was made here. */
export function isOurPolicy(policy: unknown): boolean {
  return typeof policy === "object" && policy !== null && ours.has(policy);
}

/** Whether an error of a call is sure to say that nothing was sent. */
export function isNotSent(error: unknown): boolean {
  if (error instanceof BackendError) return error.code === "BACKEND_NOT_CONNECTED";
  const message = error instanceof Error ? error.message : "";
  return (
    (message.includes("14 UNAVAILABLE") &&
      /No connection established|Name resolution failed|Channel closed before call/.test(message)) ||
    (message.includes("4 DEADLINE_EXCEEDED") && !message.includes("remote_addr="))
  );
}

/** The policies of one client. */
export function safePolicies(): EtcdPolicies {
  const failedAt = new Map<string, number>();
  const isBad = (hostname: string): boolean =>
    performance.now() - (failedAt.get(hostname) ?? Number.NEGATIVE_INFINITY) < PASSED_OVER_MS;
  const othersAreGood = (): boolean => [...failedAt.keys()].some((each) => !isBad(each));

  return {
    host(hostname: string): EtcdPolicy {
      failedAt.set(hostname, Number.NEGATIVE_INFINITY);
      return policy(async (run) => {
        // Not called through: etcd3 then takes the next host.
        if (isBad(hostname) && othersAreGood()) throw passedOver(hostname);
        try {
          const done = await run();
          failedAt.set(hostname, Number.NEGATIVE_INFINITY);
          return done;
        } catch (error) {
          if (isDown(error)) failedAt.set(hostname, performance.now());
          throw error;
        }
      });
    },
    global: policy(async (run) => {
      for (let left = failedAt.size - 1; ; left--) {
        try {
          return await run();
        } catch (error) {
          if (left <= 0 || !isNotSent(error)) throw error;
        }
      }
    }),
  };
}

function passedOver(hostname: string): BackendError {
  const what = "not asked, since it failed a moment ago";
  return new BackendError("BACKEND_NOT_CONNECTED", { backend: hostname, what });
}

function isDown(error: unknown): boolean {
  return error instanceof Error && /\b(14 UNAVAILABLE|4 DEADLINE_EXCEEDED)\b/.test(error.message);
}

/**
 * `execute` must be async: where it throws, a broken watch of the client ends the process as an uncaught error, since
 * etcd3 only handles a rejection.
 */
function policy(execute: <T>(run: () => PromiseLike<T> | T) => Promise<T>): EtcdPolicy {
  const silent = (): { readonly dispose: () => void } => ({ dispose: () => undefined });
  const made: Omit<EtcdPolicy, "_altReturn"> = {
    onSuccess: silent,
    onFailure: silent,
    async execute<T>(run: (context: { readonly signal: AbortSignal }) => PromiseLike<T> | T): Promise<T> {
      const { signal } = new AbortController();
      return execute(() => run({ signal }));
    },
  };
  ours.add(made);
  // Cockatiel's types have a property that exists for the compiler only.
  return made as EtcdPolicy;
}
