/** One Consul agent: sends a request, within its bound, and says what the answer means. Nothing is ever sent twice. */
import { BackendError, show, type BackendErrorCode } from "../../errors.js";
import { within } from "../shared/within.js";
import type { ClockReading } from "../../engine/record.js";

/** The part of `fetch` that is used. */
export type FetchLike = (
  url: string,
  init: {
    readonly method: "GET" | "PUT";
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: string;
    readonly redirect: "manual";
    readonly signal: AbortSignal;
  },
) => Promise<{
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  text(): Promise<string>;
}>;

/** Where the agent is and how it is asked. */
export interface AgentOptions {
  readonly name: string;
  readonly url: URL;
  readonly token: string | undefined;
  readonly requestTimeoutMs: number;
  readonly fetch: FetchLike;
}

/** One step of a transaction, as Consul spells it. */
export interface KvStep {
  readonly Verb: "get" | "get-tree" | "set" | "cas" | "delete-cas" | "delete-tree";
  readonly Key: string;
  /** Base64. */
  readonly Value?: string;
  readonly Index?: number;
}

/** A stored key. */
export interface KvEntry {
  readonly key: string;
  readonly text: string;
  readonly modifyIndex: number;
}

/** What a transaction answered. */
export interface TransactionReply {
  /** "conflict": one of its conditions does not hold, and nothing was written. */
  readonly outcome: "done" | "conflict";
  readonly entries: readonly KvEntry[];
  readonly now: ClockReading;
}

/** A key at an index. */
export interface Awaited {
  readonly entry: KvEntry | undefined;
  readonly index: number;
}

/** A session's way to its agent. */
export interface Agent {
  transaction(steps: readonly KvStep[]): Promise<TransactionReply>;
  /** The answer to a GET, parsed; undefined where there is nothing. */
  read(path: string): Promise<{ readonly body: unknown; readonly now: ClockReading }>;
  /**
   * The entry of a key, as soon as it is another one than at that index (0: at once), or after a while. Gives up with the
   * signal.
   */
  await(key: string, index: number, given: AbortSignal): Promise<Awaited>;
  /** Gives up what is under way, and refuses what comes. */
  close(): void;
}

/** Codes of failed fetches before which nothing was sent. */
const NOT_SENT =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENOENT|EACCES|UND_ERR_CONNECT_TIMEOUT|ERR_TLS\w*|ERR_SSL\w*|CERT_\w+|DEPTH_ZERO\w+|SELF_SIGNED\w+|UNABLE_TO\w+|HOSTNAME_MISMATCH|EPROTO)$/;
/** How long Consul may keep a question that waits for a change; it takes up to a sixteenth more. */
const AWAIT_MS = 10_000;
/** The header shows whole seconds. */
const DATE_GRAIN_MS = 1_000;
const FAILED_CONDITION = /index is stale|doesn't exist|already exists|current modify index/;

/** No request is made yet. */
export function createAgent(options: AgentOptions): Agent {
  const { name, url, token, requestTimeoutMs } = options;
  const base = url.href.replace(/\/+$/, "");
  const underWay = new Set<AbortController>();
  let closed = false;

  async function ask(
    path: string,
    { body, timeoutMs = requestTimeoutMs, given }: Asking = {},
  ): Promise<Answer> {
    if (closed) throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
    const abort = new AbortController();
    const give = (): void => abort.abort();
    underWay.add(abort);
    given?.addEventListener("abort", give);
    try {
      return await within({ backend: name, timeoutMs, onTimeout: give }, async () => {
        const response = await options.fetch(`${base}${path}`, {
          method: body === undefined ? "GET" : "PUT",
          headers: token === undefined ? {} : { "X-Consul-Token": token },
          ...(body === undefined ? {} : { body }),
          redirect: "manual",
          signal: abort.signal,
        });
        const { status, headers } = response;
        const index = Number(headers.get("x-consul-index"));
        return { status, date: headers.get("date"), index, text: await response.text() };
      });
    } catch (error) {
      throw error instanceof BackendError ? error : unanswered(name, error);
    } finally {
      given?.removeEventListener("abort", give);
      underWay.delete(abort);
    }
  }

  function clockOf({ date }: Answer): ClockReading {
    const atLeastMs = date === null ? Number.NaN : Date.parse(date);
    if (Number.isNaN(atLeastMs)) {
      const what = "its answers have no Date header, which is its clock; does a proxy remove it?";
      throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
    }
    return { atLeastMs, atMostMs: atLeastMs + DATE_GRAIN_MS };
  }

  return {
    async transaction(steps): Promise<TransactionReply> {
      // A transaction of reads is answered by a leader that has made sure that it is one; another one writes anyway.
      const answer = await ask("/v1/txn?consistent", {
        body: JSON.stringify(steps.map((KV) => ({ KV }))),
      });
      if (answer.status !== 200 && answer.status !== 409) throw refused(name, answer);
      const { Results, Errors } = fieldsOf(name, answer);
      if (answer.status === 409) {
        const reasons = listOf(Errors).map((each) => String(Reflect.get(Object(each), "What")));
        if (reasons.length === 0 || !reasons.every((each) => FAILED_CONDITION.test(each))) {
          throw refused(name, { ...answer, text: reasons.join("; ") });
        }
        return { outcome: "conflict", entries: [], now: clockOf(answer) };
      }
      const entries = listOf(Results).map((each) => entryOf(Reflect.get(Object(each), "KV")));
      return { outcome: "done", entries, now: clockOf(answer) };
    },

    async read(path) {
      const answer = await ask(path);
      const now = clockOf(answer);
      if (answer.status === 404 && answer.text.trim() === "") return { body: undefined, now };
      if (answer.status !== 200) throw refused(name, answer);
      return { body: parsed(name, answer), now };
    },

    async await(key, index, given) {
      const path = `/v1/kv/${key}?index=${index}&wait=${AWAIT_MS}ms`;
      const timeoutMs = AWAIT_MS * (1 + 1 / 16) + requestTimeoutMs;
      const answer = await ask(path, { timeoutMs, given });
      if (!(answer.index > 0)) {
        // To wait for what comes after nothing would be answered at once, again and again.
        const what = "its answers have no X-Consul-Index header, so that no change can be awaited";
        throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
      }
      if (answer.status === 404) return { entry: undefined, index: nextIndex(answer, index) };
      if (answer.status !== 200) throw refused(name, answer);
      const [entry] = listOf(parsed(name, answer));
      return { entry: entryOf(entry), index: nextIndex(answer, index) };
    },

    close() {
      closed = true;
      for (const abort of underWay) abort.abort();
    },
  };
}

/** An index that went back is one of another memory, and a question without one would be answered at once for ever. */
function nextIndex(answer: Answer, before: number): number {
  return answer.index < before ? 0 : Math.max(1, answer.index);
}

interface Asking {
  readonly body?: string;
  readonly timeoutMs?: number;
  /** Given up with it. */
  readonly given?: AbortSignal;
}

interface Answer {
  readonly status: number;
  readonly date: string | null;
  readonly index: number;
  readonly text: string;
}

function parsed(name: string, { status, text }: Answer): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const what = `it answered (status ${status}) what no Consul answers: ${show(text)}`;
    throw new BackendError("BACKEND_REFUSED", { backend: name, what }, error);
  }
}

function fieldsOf(name: string, answer: Answer): { readonly Results?: unknown; readonly Errors?: unknown } {
  return Object(parsed(name, answer)) as { readonly Results?: unknown; readonly Errors?: unknown };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** As Consul spells it; the value of an empty key is null. */
export function entryOf(stored: unknown): KvEntry {
  const { Key, Value, ModifyIndex } = Object(stored) as Readonly<Record<string, unknown>>;
  return {
    key: String(Key),
    text: Buffer.from(typeof Value === "string" ? Value : "", "base64").toString("utf8"),
    modifyIndex: Number(ModifyIndex),
  };
}

/** An answer with a status that is none of a success. */
function refused(name: string, { status, text }: Answer): BackendError {
  const words = text.trim();
  const fault = (code: BackendErrorCode, what: string): BackendError =>
    new BackendError(code, { backend: name, what: `${what} (status ${status}: ${show(words)})` });
  if (/ACL not found|UUID.*token|ACL Token/i.test(words) || status === 401) {
    return fault("BACKEND_AUTH", "it refuses the token");
  }
  if (/permission denied/i.test(words)) {
    return fault("BACKEND_NO_PERMISSION", "its access rules forbid what the lock needs");
  }
  if (/no cluster leader/i.test(words)) return fault("BACKEND_LOADING", "it has no leader");
  if (status === 429) return fault("BACKEND_BUSY", "it takes no more requests for now");
  if (status === 404 || status === 405)
    return fault("BACKEND_UNSUPPORTED", "this is no Consul, or one without transactions");
  return fault("BACKEND_REFUSED", "it refused");
}

/** A fetch that brought no answer. */
function unanswered(name: string, error: unknown): BackendError {
  const causes = causesOf(error);
  const codes = causes.map((each) => String(Reflect.get(Object(each), "code") ?? ""));
  const reason = causes
    .map((each) => (each instanceof Error ? each.message : String(each)))
    .find((each) => each !== "");
  const why = codes.some((code) => reason?.includes(code) === true)
    ? reason
    : [reason, ...codes].filter(Boolean).join(" ");
  if (codes.some((code) => NOT_SENT.test(code))) {
    return new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: `not connected: ${why}` }, error);
  }
  const what = `the connection broke before the answer (it may still act on the request): ${why}`;
  return new BackendError("BACKEND_DISCONNECTED", { backend: name, what }, error);
}

/** The innermost reasons: fetch wraps what happened, and a name with two addresses fails twice. */
function causesOf(error: unknown): readonly unknown[] {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.flatMap(causesOf);
  if (error instanceof Error && error.cause !== undefined) return causesOf(error.cause);
  return [error];
}
