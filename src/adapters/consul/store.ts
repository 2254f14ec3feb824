/**
 * Consul's key-value store as one with compare and swap. A record lies under a hash of its key. The mark has a seal: a
 * second key whose name is a hash of the mark's text, always written together with it. A write that relies on a mark has
 * a condition on its seal, not on the index of the mark: a Consul whose data was wiped counts its indexes from the start
 * again, so that another mark may well have the same one.
 */
import { randomBytes } from "node:crypto";
import type { Examination, ListPage, ListRequest } from "../../backend.js";
import { isForgotten, keptNow, type ClockReading, type KeptKey } from "../../engine/record.js";
import type { CasStore, Look, MarkLook, Stored } from "../shared/cas-store.js";
import { keepWatching } from "../shared/keep-watching.js";
import { placeOf, sealOf } from "../shared/place.js";
import { formatRecord, keyOfRecord, parseRecord } from "../shared/record-text.js";
import { brokenMark } from "../shared/refusals.js";
import type { Agent, KvEntry, KvStep, TransactionReply } from "./agent.js";
import { examine } from "./examination.js";

/** A ModifyIndex for a record; for the mark the name of its seal. */
type Version = string;

/** Names the cluster to all backends on it, whatever their prefix. */
const SERVER_KEY = "quorum-lock/server";
/** Consul refuses transactions of more than 64 steps. */
const STEPS_MAX = 64;
/** So many records are deleted at a time at most: more than are written meanwhile, so that they do not pile up. */
const FORGET_MAX = 512;
const FOLDERS_AT_ONCE = 8;
/** Each takes a connection, of which an agent by default allows 200 for one address. */
const WATCHES_MAX = 16;

/** Nothing is asked yet. */
export function createConsulStore(
  agent: Agent,
  { name, prefix }: { readonly name: string; readonly prefix: string },
): CasStore<Version> {
  const markKey = `${prefix}/mark`;
  const sealKey = (seal: string): string => `${markKey}/${seal}`;
  const recordsKey = `${prefix}/keys/`;
  /** Denied once is denied for good: the server is then known by its mark only. */
  let mayNameServer = true;

  function recordKey(key: string): string {
    const place = placeOf(key);
    return `${recordsKey}${place.folder}/${place.name}`;
  }

  const READ_MARK: readonly KvStep[] = [
    { Verb: "get-tree", Key: markKey },
    { Verb: "get-tree", Key: SERVER_KEY },
  ];

  function markIn({ entries, now }: TransactionReply): MarkLook<Version> {
    const entry = entries.find(({ key }) => key === markKey);
    return {
      now,
      wall: now,
      mark: entry === undefined ? undefined : sealed(entry, entries),
      origin: "",
      serverId: entries.find(({ key }) => key === SERVER_KEY)?.text ?? "",
    };
  }

  function sealed({ text }: KvEntry, entries: readonly KvEntry[]): Stored<string, Version> {
    const seal = sealOf(text);
    if (!entries.some(({ key }) => key === sealKey(seal))) {
      throw brokenMark(
        name,
        markKey,
        `the key ${sealKey(seal)}, which is written together with it, is missing`,
      );
    }
    return { value: text, version: seal };
  }

  function kept(entry: KvEntry, key: string): Stored<KeptKey, Version> {
    return { value: parseRecord(entry.text, { backend: name, key }), version: String(entry.modifyIndex) };
  }

  async function nameServer(): Promise<void> {
    if (!mayNameServer) return;
    const Value = base64(randomBytes(16).toString("hex"));
    await agent.transaction([{ Verb: "cas", Key: SERVER_KEY, Value, Index: 0 }]).catch((error: unknown) => {
      if (Reflect.get(Object(error), "code") !== "BACKEND_NO_PERMISSION") throw error;
      mayNameServer = false;
    });
  }

  /** The names of the folders that hold records, in order. */
  async function folders(): Promise<readonly string[]> {
    const { body } = await agent.read(`/v1/kv/${recordsKey}?keys&separator=/&consistent`);
    return (Array.isArray(body) ? body : []).map((each) => String(each).slice(recordsKey.length, -1)).sort();
  }

  async function recordsIn(folder: string): Promise<TransactionReply> {
    return agent.transaction([{ Verb: "get-tree", Key: `${recordsKey}${folder}/` }]);
  }

  /** Folders are looked through for what is forgotten one after the other, by each session from another one on. */
  let nextFolder = Math.floor(Math.random() * 256);

  return {
    async look(key): Promise<Look<Version>> {
      const place = recordKey(key);
      const reply = await agent.transaction([...READ_MARK, { Verb: "get-tree", Key: place }]);
      const entry = reply.entries.find((each) => each.key === place);
      return { ...markIn(reply), key: entry === undefined ? undefined : kept(entry, key) };
    },

    async put(key, next, { look }) {
      const { mark } = look;
      const { outcome } = await agent.transaction([
        // Also where the mark need not be the same: an index of another memory may mean another record.
        ...(mark === undefined ? [] : [{ Verb: "get", Key: sealKey(mark.version) } as const]),
        {
          Verb: "cas",
          Key: recordKey(key),
          Value: base64(formatRecord(key, next)),
          // 0: there must be none.
          Index: Number(look.key?.version ?? 0),
        },
      ]);
      return outcome === "done" ? "written" : "conflict";
    },

    async lookAtMark(): Promise<MarkLook<Version>> {
      return markIn(await agent.transaction(READ_MARK));
    },

    async putMark(text, seen) {
      // Before there is a mark, so that no answer ever names the server otherwise.
      if (seen === undefined) await nameServer();
      const Value = base64(text);
      const { outcome } = await agent.transaction([
        seen === undefined
          ? { Verb: "cas", Key: markKey, Value, Index: 0 }
          : { Verb: "get", Key: sealKey(seen) },
        // Seals of marks that were deleted by hand, too.
        { Verb: "delete-tree", Key: `${markKey}/` },
        { Verb: "set", Key: markKey, Value },
        { Verb: "set", Key: sealKey(sealOf(text)), Value },
      ]);
      return outcome === "done" ? "written" : "conflict";
    },

    async list({ prefix: begin, cursor, pageSize }: ListRequest): Promise<ListPage> {
      const left = (await folders()).filter((folder) => cursor === undefined || folder >= cursor);
      const keys: string[] = [];
      let seen = 0;
      let at = 0;
      while (at < left.length && seen < pageSize) {
        const replies = await Promise.all(left.slice(at, at + FOLDERS_AT_ONCE).map(recordsIn));
        for (const { entries, now } of replies) {
          seen += entries.length;
          keys.push(
            ...entries.flatMap(({ text }) => liveKeys(text, now)).filter((key) => key.startsWith(begin)),
          );
        }
        at += FOLDERS_AT_ONCE;
      }
      return { keys, next: left[at] };
    },

    examine: (): Promise<Examination> => examine(agent),

    async forget(now) {
      const folder = (nextFolder++ % 256).toString(16).padStart(2, "0");
      const { entries } = await recordsIn(folder);
      const forgotten = entries
        .filter(({ text }) => isDispensable(text, now))
        .slice(0, FORGET_MAX)
        .map(({ key, modifyIndex }): KvStep => ({ Verb: "delete-cas", Key: key, Index: modifyIndex }));
      for (let from = 0; from < forgotten.length; from += STEPS_MAX) {
        // One that was written meanwhile keeps its whole batch for the next time.
        await agent.transaction(forgotten.slice(from, from + STEPS_MAX));
      }
    },

    watchesMax: WATCHES_MAX,
    watch: (key, changed) =>
      keepWatching(({ well, gone }) => {
        const given = new AbortController();
        const follow = async (): Promise<void> => {
          for (let index = 0; !given.signal.aborted;) {
            const awaited = await agent.await(recordKey(key), index, given.signal);
            if (given.signal.aborted) return;
            // Also when nothing changed in that time, which does no harm.
            const kept = awaited.entry === undefined ? undefined : recordOf(awaited.entry.text)?.value;
            well();
            changed({ line: kept?.line, isFree: kept?.lock === undefined });
            index = awaited.index;
          }
        };
        follow().catch(gone);
        return () => given.abort();
      }),

    async close() {
      agent.close();
    },
  };

  function recordOf(text: string): { readonly key: string; readonly value: KeptKey } | undefined {
    const key = keyOfRecord(text);
    if (key === undefined) return undefined;
    try {
      return { key, value: parseRecord(text, { backend: name, key }) };
    } catch {
      // Somebody else's, which is left alone.
      return undefined;
    }
  }

  function liveKeys(text: string, now: ClockReading): readonly string[] {
    const record = recordOf(text);
    return record === undefined || keptNow(record.value, now).lock === undefined ? [] : [record.key];
  }

  function isDispensable(text: string, now: ClockReading): boolean {
    const record = recordOf(text);
    return record !== undefined && isForgotten(record.value, now);
  }
}

function base64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}
