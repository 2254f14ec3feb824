/**
 * A MongoDB collection as a store with compare and swap. Each key has a document, and so has the mark. Each document has a
 * random version, new for every write, so that none ever comes again.
 *
 * No write can be conditional on a second document, so that one which relies on the mark must be bound to it otherwise:
 * it only ever changes a document that was there before the mark was looked at, and a mark with another incarnation is
 * written together with a new generation in every document. So after a wipe the document is not there, and after a quarantine by hand
 * it has another generation. A new key therefore gets an empty document first, and the operation looks once more.
 */
import { randomBytes } from "node:crypto";
import type { Examination, ListPage, ListRequest } from "../../backend.js";
import { keptNow, NOTHING_KEPT, type ClockReading, type KeptKey } from "../../engine/record.js";
import { BackendError } from "../../errors.js";
import type { CasStore, Look, MarkLook } from "../shared/cas-store.js";
import { formatRecord, keyOfRecord, parseRecord } from "../shared/record-text.js";
import { noRecord } from "../shared/refusals.js";
import { within } from "../shared/within.js";
import {
  complaintOf,
  isConnected,
  type Collection,
  type Database,
  type Found,
  type MongoLike,
} from "./client.js";
import { examine } from "./examination.js";
import { faultOf, isDuplicate, notConnected } from "./faults.js";

/** Where the documents lie and how they are asked for. */
export interface MongoStoreOptions {
  readonly name: string;
  readonly database: string;
  readonly collection: string;
  readonly requestTimeoutMs: number;
}

type Version = string;

/** No key is an object. */
const MARK = { ql: "mark" } as const;
/** The server's clock, as text: as a number or a date it would be what the settings of the client make of it. */
const NOW = { $toString: { $toLong: "$$NOW" } };
/** So many records are deleted at a time at most; more than are written meanwhile. */
const FORGET_MAX = 512;
/** So much later than the driver a request is given up without it. */
const BOUND_SLACK_MS = 200;
/** A new generation in every document, which an operator waits for. */
const RENEW_TIMEOUT_MS = 60_000;
/** So long what the driver found out about the server's process is believed. */
const SERVER_KNOWN_MS = 1_000;

/** Nothing is asked yet. */
export function createMongoStore(client: MongoLike, options: MongoStoreOptions): CasStore<Version> {
  const { name, requestTimeoutMs: timeoutMs } = options;
  // Settings of the client that would change what is read or written are set here.
  const settings = { ignoreUndefined: true, raw: false, promoteValues: true, readPreference: "primary" };
  const database = client.db(options.database, settings) as Database;
  const collection: Collection = database.collection(options.collection, settings);
  const READ = { timeoutMS: timeoutMs, readConcern: { level: "majority" } };
  const WRITE = { timeoutMS: timeoutMs, writeConcern: { w: "majority", j: true } };
  let closed = false;
  let known: { readonly serverId: string; readonly untilMs: number } | undefined;

  /** Runs one request within its bound; what the driver says is typed. */
  async function request<T>(send: () => Promise<T>, boundMs = timeoutMs): Promise<T> {
    refuseClosed();
    try {
      if (!isConnected(client) || complaintOf(client) !== undefined) await reach();
      // The driver's own bound comes first, since it knows whether anything was sent.
      return await within({ backend: name, timeoutMs: boundMs + BOUND_SLACK_MS }, send);
    } catch (error) {
      known = undefined;
      throw faultOf(name, error);
    }
  }

  /** Asks a harmless question, where a request would wait inside the driver and be sent when nobody waits for it any more. */
  async function reach(): Promise<void> {
    try {
      await within({ backend: name, timeoutMs }, () =>
        database.command({ hello: 1 }, { timeoutMS: timeoutMs }),
      );
    } catch (error) {
      throw notConnected(name, complaintOf(client) ?? error);
    }
    refuseClosed();
  }

  function refuseClosed(): void {
    if (closed) throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
  }

  const hello = (): Promise<Readonly<Record<string, unknown>>> =>
    request(() => database.command({ hello: 1 }, { timeoutMS: timeoutMs }));

  /** The process that answers: it has a number of its own, whatever database is asked. */
  async function serverId(): Promise<string> {
    if (known === undefined || performance.now() > known.untilMs) {
      const { topologyVersion } = await hello();
      const processId = Reflect.get(Object(topologyVersion), "processId") as
        { toString(): string } | undefined;
      const id = processId === undefined ? "" : `process ${processId.toString()}`;
      known = { serverId: id, untilMs: performance.now() + SERVER_KNOWN_MS };
    }
    return known.serverId;
  }

  /** The documents of these ids, and the clock as it was before they were read. */
  async function read(
    ids: readonly Found["_id"][],
  ): Promise<{ readonly found: readonly Found[]; readonly now: ClockReading }> {
    // In the order of the index, where texts stand before objects: a record is read before the mark, so that it is never one
    // of a later memory than the mark.
    const stages = [{ $match: { _id: { $in: ids } } }, { $sort: { _id: 1 } }, { $addFields: { nowMs: NOW } }];
    const found = await request(() => collection.aggregate(stages, READ).toArray());
    const [first] = found;
    // Where nothing is, nothing shows the clock.
    const nowMs = first === undefined ? Number((await hello())["localTime"]) : Number(first.nowMs);
    if (!Number.isFinite(nowMs)) {
      throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what: "it shows no clock" });
    }
    return { found, now: { atLeastMs: nowMs, atMostMs: nowMs + 1 } };
  }

  function markIn(
    found: readonly Found[],
    where: { readonly now: ClockReading; readonly serverId: string },
  ): MarkLook<Version> {
    const mark = found.find(({ _id }) => typeof _id !== "string");
    return {
      now: where.now,
      wall: where.now,
      // A document without these fields is a mark of another format, which the session refuses.
      mark: mark === undefined ? undefined : { value: String(mark.text), version: markVersion(mark) },
      origin: "",
      serverId: where.serverId,
    };
  }

  function recordIn(found: Found, key: string): { readonly value: KeptKey; readonly version: Version } {
    const { text, v } = found;
    if (typeof text !== "string" || typeof v !== "string") throw noRecord(name, key);
    const g = typeof found.g === "string" ? found.g : "";
    return { value: parseRecord(text, { backend: name, key }), version: `${v} ${g}` };
  }

  /** "conflict" instead of an error when somebody else was quicker. */
  async function insert(document: Parameters<Collection["insertOne"]>[0]): Promise<"written" | "conflict"> {
    return request(async () => {
      try {
        await collection.insertOne(document, WRITE);
        return "written";
      } catch (error) {
        if (isDuplicate(error)) return "conflict";
        throw error;
      }
    });
  }

  async function replace(filter: object, fields: object): Promise<"written" | "conflict"> {
    const { matchedCount } = await request(() => collection.updateOne(filter, { $set: fields }, WRITE));
    return matchedCount === 1 ? "written" : "conflict";
  }

  return {
    async look(key): Promise<Look<Version>> {
      const [{ found, now }, server] = await Promise.all([read([MARK, key]), serverId()]);
      const record = found.find(({ _id }) => _id === key);
      return {
        ...markIn(found, { now, serverId: server }),
        key: record === undefined ? undefined : recordIn(record, key),
      };
    },

    async put(key, next, { look, onMark }) {
      const seen = look.key?.version;
      if (seen !== undefined) {
        const [v, g] = seen.split(" ");
        // What is missing is null to a filter.
        return replace({ _id: key, v, g: g === "" ? null : g }, fieldsOf(key, next));
      }
      if (!onMark) return insert({ _id: key, ...fieldsOf(key, next) });
      await insert({ _id: key, ...fieldsOf(key, { ...NOTHING_KEPT, forgetAt: next.forgetAt }) });
      return "conflict";
    },

    async lookAtMark(): Promise<MarkLook<Version>> {
      const [{ found, now }, server] = await Promise.all([read([MARK]), serverId()]);
      return markIn(found, { now, serverId: server });
    },

    async putMark(text, seen) {
      if (seen === undefined) {
        await letItForget();
        return insert({ _id: MARK, v: newVersion(), text });
      }
      const [v, incarnation] = seen.split(" ");
      const written = await replace({ _id: MARK, v }, { v: newVersion(), text });
      // What was decided under the mark before, and is still on its way, comes to nothing from here on.
      if (written === "written" && incarnation !== incarnationIn(text)) await renew();
      return written;
    },

    async list({ prefix, cursor, pageSize }: ListRequest): Promise<ListPage> {
      const from = cursor === undefined ? { $gte: prefix } : { $gt: cursor };
      const stages = [
        { $match: { _id: { ...from, $type: "string" } } },
        { $sort: { _id: 1 } },
        { $limit: pageSize },
        { $addFields: { nowMs: NOW } },
      ];
      const found = await request(() => collection.aggregate(stages, READ).toArray());
      // In order of their bytes, so that those with the prefix stand together.
      const ids = found.map(({ _id }) => String(_id));
      const last = ids.at(-1);
      const keys = found.filter((each) => isLive(each)).map(({ _id }) => String(_id));
      const more = found.length === pageSize && last?.startsWith(prefix) === true;
      return { keys: keys.filter((key) => key.startsWith(prefix)), next: more ? last : undefined };
    },

    examine: (): Promise<Examination> =>
      examine((database_, command) =>
        request(() => (client.db(database_) as Database).command(command, { timeoutMS: timeoutMs })),
      ),

    async forget({ atLeastMs }) {
      const past = { forgetAt: { $lte: new Date(Math.floor(atLeastMs)) } };
      const stages = [{ $match: past }, { $limit: FORGET_MAX }, { $addFields: { nowMs: NOW } }];
      const found = await request(() => collection.aggregate(stages, READ).toArray());
      const ids = found.filter(isOurs).map(({ _id }) => _id);
      if (ids.length > 0) await request(() => collection.deleteMany({ _id: { $in: ids }, ...past }, WRITE));
    },

    async close() {
      closed = true;
    },
  };

  async function renew(): Promise<void> {
    const bound = { ...WRITE, timeoutMS: RENEW_TIMEOUT_MS };
    const change = { $set: { g: newVersion() } };
    await request(() => collection.updateMany({ _id: { $type: "string" } }, change, bound), RENEW_TIMEOUT_MS);
  }

  /** The server deletes what is past by itself, where the client may say so; `forget` does the same. */
  async function letItForget(): Promise<void> {
    const past = { expireAfterSeconds: 0, timeoutMS: timeoutMs };
    await request(() => collection.createIndex({ forgetAt: 1 }, past)).catch((error: unknown) => {
      const code: unknown = Reflect.get(Object(error), "code");
      if (code !== "BACKEND_NO_PERMISSION" && code !== "BACKEND_REFUSED") throw error;
    });
  }

  function isLive(found: Found): boolean {
    if (!isOurs(found)) return false;
    const nowMs = Number(found.nowMs);
    const { value } = recordIn(found, String(found._id));
    return keptNow(value, { atLeastMs: nowMs, atMostMs: nowMs + 1 }).lock !== undefined;
  }

  function isOurs(found: Found): boolean {
    const { _id, text } = found;
    if (typeof _id !== "string" || typeof text !== "string" || keyOfRecord(text) !== _id) return false;
    try {
      recordIn(found, _id);
      return true;
    } catch {
      // Somebody else's, which is left alone.
      return false;
    }
  }
}

function fieldsOf(
  key: string,
  kept: KeptKey,
): { readonly v: string; readonly text: string; readonly forgetAt: Date } {
  // The server deletes by this one without a look at the lock.
  const forgetAtMs = Math.max(kept.forgetAt, kept.lock?.expiresAt ?? 0);
  return { v: newVersion(), text: formatRecord(key, kept), forgetAt: new Date(Math.ceil(forgetAtMs)) };
}

/** With the incarnation, which tells whether a next mark is one of another memory. */
function markVersion({ v, text }: Found): Version {
  return `${String(v)} ${incarnationIn(String(text))}`;
}

/** The second word of a mark. */
function incarnationIn(text: string): string {
  return text.split(" ")[1] ?? "";
}

function newVersion(): string {
  return randomBytes(16).toString("hex");
}
