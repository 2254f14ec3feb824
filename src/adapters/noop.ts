/**
 * A backend that grants everything and excludes nobody: for tests of code that takes a locker, and for development on
 * one's own machine. It is no lock, and says so.
 */
import type {
  AcquireReply,
  Backend,
  BackendIdentity,
  BackendSession,
  Capabilities,
  Deployment,
  ExtendReply,
  KeyRecord,
  ListPage,
  Quarantined,
  RaiseReply,
  ReleaseReply,
  StatusReply,
  Examination,
} from "../backend.js";
import { higherFence, mintFence } from "../engine/token.js";
import { BackendError, InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { counterBroken } from "./shared/refusals.js";

/** Options of {@link noop}. */
export interface NoopOptions {
  /** What messages and logs call it. Default "noop". */
  readonly name?: string;
  /** Do not say on standard error that nothing is locked: where that is what is wanted, such as in a test. Default false. */
  readonly quiet?: boolean;
}

const CAPABILITIES: Capabilities = {
  earlyByMs: 0,
  lateByMs: 0,
  expiryClock: "monotonic",
  // It has no locks that it could forget.
  durable: true,
  lists: false,
  grantsEverything: true,
  coalesces: "no",
  atomicStep: "none: it grants everything",
  acquireRoundTrips: 0,
};

const OPTIONS: ReadonlySet<string> = new Set<keyof NoopOptions>(["name", "quiet"]);
const IDENTITY: BackendIdentity = { serverId: "noop", incarnation: "noop" };
const EXCLUDES_NOBODY = "grants everything and excludes nobody";

/** The largest token of this process, of whatever key: so tokens of each key increase, and no key is remembered. */
let last = 0n;
let told = false;

/**
 * A backend that grants every acquire at once, to everybody. Must be the only backend of its locker: in a quorum it would
 * vote for two holders. Tokens still strictly increase per key within the process, so that guards can be tried.
 *
 * Says once per process, as a warning of Node's (code `QUORUM_LOCK_NOOP`, on standard error unless `quiet`), that nothing is
 * locked; and each locker says it as its event `warning`, to its logger too.
 *
 * @example
 * ```ts
 * import { createLocker } from "quorum-lock";
 * import { noop } from "quorum-lock/noop";
 *
 * const locker = createLocker({ backends: [noop({ quiet: true })] });
 * await locker.withLock("invoice:42", async (lease) => console.log(lease.token));
 * await locker.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function noop(options: NoopOptions = {}): Backend {
  refuseUnknownOptions(options, OPTIONS, "the options of noop()");
  const { name = "noop", quiet = false } = options;
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("noop({ name })", "a non-empty string", name);
  }
  if (typeof quiet !== "boolean") throw new InvalidOptionError("noop({ quiet })", "true or false", quiet);
  const unsupported = (what: string): BackendError =>
    new BackendError("BACKEND_UNSUPPORTED", { backend: name, what: `${what}: it ${EXCLUDES_NOBODY}` });

  function open(_deployment: Deployment): BackendSession {
    if (!quiet) tellOnce(name);
    return {
      async acquire({ key, proposal }): Promise<AcquireReply> {
        const fence = mintFence(last, proposal);
        if (fence === undefined) throw counterBroken(name, key);
        last = fence;
        return { kind: "granted", fence, identity: IDENTITY };
      },

      async raise({ token }): Promise<RaiseReply> {
        last = higherFence(last, token);
        return "raised";
      },

      async extend({ token }): Promise<ExtendReply> {
        last = higherFence(last, token);
        return { kind: "extended", identity: IDENTITY };
      },

      async release(): Promise<ReleaseReply> {
        return "released";
      },

      async forceRelease(): Promise<boolean> {
        return false;
      },

      async inspect(): Promise<KeyRecord> {
        return { lock: undefined, counter: last };
      },

      async list(): Promise<ListPage> {
        throw unsupported("it has no keys to list");
      },

      async lift(_key, token): Promise<bigint> {
        last = higherFence(last, token);
        return last;
      },

      async status(): Promise<StatusReply> {
        return { kind: "in-service", identity: IDENTITY };
      },

      async bootstrap(): Promise<void> {
        // Always in service.
      },

      async join(): Promise<void> {
        // Always in service.
      },

      async quarantine(): Promise<Quarantined> {
        throw unsupported("it cannot be quarantined");
      },

      async examine(): Promise<Examination> {
        const remedy = "use it in tests only, and a real backend elsewhere";
        return {
          server: "noop",
          wallMs: Date.now(),
          findings: [{ level: "problem", topic: "storage", text: EXCLUDES_NOBODY, remedy }],
        };
      },

      async close(): Promise<void> {
        // Nothing was opened.
      },
    };
  }

  return { kind: "noop", name, capabilities: CAPABILITIES, client: {}, open };
}

function tellOnce(name: string): void {
  if (told) return;
  told = true;
  process.emitWarning(`backend ${name} ${EXCLUDES_NOBODY}: nothing is locked`, {
    type: "QuorumLockWarning",
    code: "QUORUM_LOCK_NOOP",
    detail: "For tests and development only. noop({ quiet: true }) does not say so.",
  });
}
