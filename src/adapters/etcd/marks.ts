/** The mark of a cluster in two keys: what does not end by itself, and the quarantine, which hangs on a lease. */
import { randomBytes } from "node:crypto";
import { formatMark, parseMark, type Mark } from "../../engine/mark.js";
import { BackendError } from "../../errors.js";
import type { MarkLook } from "../shared/cas-store.js";
import type { EtcdHeader, EtcdKeyValue, EtcdLike } from "./client.js";
import { ABSENT, bytes, NEITHER, sameText, textOf, unchanged, type Revisions } from "./compare.js";
import { NOW, type Call, type Leases } from "./leases.js";

/** What it works with. */
export interface MarksContext {
  readonly client: EtcdLike;
  readonly call: Call;
  readonly leases: Leases;
  readonly prefix: string;
}

/** The mark of one prefix. */
export interface Marks {
  readonly markKey: Buffer;
  readonly holdKey: Buffer;
  /** What was read of the two keys, as a look. */
  look(
    header: EtcdHeader,
    mark: EtcdKeyValue | undefined,
    hold: EtcdKeyValue | undefined,
  ): Promise<MarkLook<Revisions>>;
  put(text: string, seen: Revisions | undefined): Promise<"written" | "conflict">;
}

/** Where clusters carry their name, for all prefixes alike. */
const SERVER_KEY = "quorum-lock/server";

interface ServerId {
  readonly incarnation: string;
  readonly id: string;
}

/** Opens it for one session. */
export function openMarks({ client, call, leases, prefix }: MarksContext): Marks {
  const markKey = bytes(`${prefix}/mark`);
  const holdKey = bytes(`${prefix}/quarantine`);
  let server: ServerId | undefined;

  /**
   * Names the cluster for all prefixes alike; made up where there is none yet. "" where its roles allow the prefix only:
   * the mark then names it. A cluster id would not do: two that were started with the same settings have the same one.
   */
  async function idOfServer(incarnation: string): Promise<string> {
    if (server?.incarnation === incarnation) return server.id;
    const key = bytes(SERVER_KEY);
    const made = randomBytes(16).toString("hex");
    try {
      const { succeeded, responses } = await call((rpc) =>
        client.kv.txn(
          {
            compare: [unchanged(key, ABSENT)],
            success: [{ request_put: { key, value: bytes(made) } }],
            failure: [{ request_range: { key } }],
          },
          rpc,
        ),
      );
      const found = responses[0]?.response_range?.kvs[0];
      server = {
        incarnation,
        id: succeeded || found === undefined ? made : textOf(found.value),
      };
    } catch (error) {
      if (!(error instanceof BackendError) || error.code !== "BACKEND_NO_PERMISSION") throw error;
      server = { incarnation, id: "" };
    }
    return server.id;
  }

  return {
    markKey,
    holdKey,

    async look(
      header: EtcdHeader,
      mark: EtcdKeyValue | undefined,
      hold: EtcdKeyValue | undefined,
    ): Promise<MarkLook<Revisions>> {
      const basis = { now: NOW, wall: undefined, origin: header.cluster_id };
      if (mark === undefined) return { ...basis, mark: undefined, serverId: server?.id ?? "" };
      const text = textOf(mark.value);
      const parsed = parseMark(text);
      const version = {
        text,
        first: mark.mod_revision,
        second: hold?.mod_revision ?? ABSENT,
        lease: hold?.lease ?? ABSENT,
        line: ABSENT,
      };
      if (parsed === undefined) return { ...basis, mark: { value: text, version }, serverId: "" };
      const serverId = await idOfServer(parsed.incarnation);
      if (hold === undefined) return { ...basis, mark: { value: text, version }, serverId };
      const quarantinedUntil =
        hold.lease === ABSENT ? Number.MAX_SAFE_INTEGER : await leases.endOf(hold.lease);
      return { ...basis, mark: { value: formatMark({ ...parsed, quarantinedUntil }), version }, serverId };
    },

    async put(text: string, seen: Revisions | undefined): Promise<"written" | "conflict"> {
      const mark = parseMark(text);
      const { text: before, second, lease: held } = seen ?? NEITHER;
      const compare: object[] = [...sameText(markKey, seen ?? NEITHER)];
      if (seen !== undefined) compare.push(unchanged(holdKey, second));
      const kept = bytes(mark === undefined ? text : formatMark({ ...mark, quarantinedUntil: 0 }));
      const success: object[] = [{ request_put: { key: markKey, value: kept } }];
      const quarantineMs = (mark?.quarantinedUntil ?? 0) - NOW.atMostMs;
      // A quarantine that goes on keeps its lease: one of whole seconds from now on might be shorter.
      const goesOn = quarantineMs > 0 && second !== ABSENT && sameIncarnation(before, mark);
      let lease: string | undefined;
      if (quarantineMs > 0 && !goesOn) {
        lease = await leases.grant(quarantineMs);
        success.push({ request_put: { key: holdKey, value: bytes(mark?.incarnation ?? ""), lease } });
      }
      if (quarantineMs <= 0) success.push({ request_delete_range: { key: holdKey } });
      const { succeeded } = await call((rpc) => client.kv.txn({ compare, success }, rpc));
      if (succeeded && !goesOn && held !== ABSENT) leases.drop(held);
      if (!succeeded && lease !== undefined) leases.drop(lease);
      return succeeded ? "written" : "conflict";
    },
  };
}

function sameIncarnation(before: string | undefined, mark: Mark | undefined): boolean {
  return before !== undefined && parseMark(before)?.incarnation === mark?.incarnation;
}
