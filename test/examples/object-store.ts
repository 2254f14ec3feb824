/** An adapter for object stores with conditional writes (If-Match, If-None-Match), such as S3, written from docs/adapters/writing-your-own.md. */
import { BackendError, type Backend } from "quorum-lock";
import { formatRecord, openCasSession, parseRecord, type CasStore, type MarkLook } from "quorum-lock/adapter";

const DEADLINE_MS = 10_000;

export function objectStore(bucket: string, { name = bucket }: { readonly name?: string } = {}): Backend {
  const pathOf = (key: string): string => `keys/${Buffer.from(key).toString("base64url")}`;
  const fault = (code: "BACKEND_TIMEOUT" | "BACKEND_REFUSED", what: string, cause?: unknown): BackendError =>
    new BackendError(code, { backend: name, what }, cause);

  async function send(path: string, init: RequestInit = {}): Promise<Response> {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const response = await fetch(`${bucket}/${path}`, { ...init, signal }).catch((error: unknown) => {
      throw fault("BACKEND_TIMEOUT", `no answer to ${path} (it may still act on the request)`, error);
    });
    if (response.ok || response.status === 404 || response.status === 412) return response;
    throw fault("BACKEND_REFUSED", `it answered ${response.status} to ${path}`);
  }

  async function read(path: string): Promise<{ object?: { value: string; version: string }; nowMs: number }> {
    const response = await send(path);
    const nowMs = Date.parse(response.headers.get("date") ?? "");
    if (response.status === 404) return { nowMs };
    return { nowMs, object: { value: await response.text(), version: response.headers.get("etag") ?? "" } };
  }

  async function write(
    path: string,
    text: string,
    seen: string | undefined,
  ): Promise<"written" | "conflict"> {
    const condition: Record<string, string> =
      seen === undefined ? { "If-None-Match": "*" } : { "If-Match": seen };
    const { ok } = await send(path, { method: "PUT", body: text, headers: condition });
    return ok ? "written" : "conflict";
  }

  async function lookAtMark(): Promise<MarkLook<string>> {
    const { object, nowMs } = await read("mark");
    // The clock shows whole seconds.
    const now = { atLeastMs: nowMs, atMostMs: nowMs + 1_000 };
    return { now, wall: now, mark: object, origin: "", serverId: "" };
  }

  const store: CasStore<string> = {
    lookAtMark,
    async look(key) {
      // The record first, so that it is never of a later memory than the mark.
      const { object } = await read(pathOf(key));
      const kept = object && { ...object, value: parseRecord(object.value, { backend: name, key }) };
      return { ...(await lookAtMark()), key: kept };
    },
    async put(key, next, { look, onMark }) {
      const written = await write(pathOf(key), formatRecord(key, next), look.key?.version);
      if (written === "conflict" || !onMark) return written;
      return (await lookAtMark()).mark?.version === look.mark?.version ? "written" : "conflict";
    },
    putMark: (text, seen) => write("mark", text, seen),
    async list() {
      throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what: "it lists no keys" });
    },
    examine: async () => ({
      server: "object store",
      wallMs: (await lookAtMark()).now.atLeastMs,
      findings: [],
    }),
    close: async () => undefined,
  };

  return {
    kind: "object-store",
    name,
    capabilities: {
      earlyByMs: 0,
      lateByMs: 2_001, // written from the latest that it may be, and over when it is at least that late
      expiryClock: "wall",
      durable: true,
      lists: false,
      atomicStep: "one conditional PUT, and a second look at the mark",
      acquireRoundTrips: 4,
    },
    client: new URL(bucket),
    open: (deployment) =>
      openCasSession(store, { name, durable: true, deployment, markPlace: "the object mark" }),
  };
}
