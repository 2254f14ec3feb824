/**
 * A MongoDB collection as a store with compare and swap. Each key has a document, and so has the mark; each document has a
 * random version, new for every write, so that none ever comes again. A write is conditional on the version of
 * its own document. No write can be conditional on a second document, and so what relies on the mark looks at it once more
 * after it has written: a version that was there before and is there afterwards was there all the time.
 */
import { randomBytes } from "node:crypto";
import type { Examination, ListPage, ListRequest } from "../../backend.js";
import { keptNow, type ClockReading, type KeptKey } from "../../engine/record.js";
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
/** So long what the driver found out about the server's process is believed. */
const SERVER_KNOWN_MS = 1_000;

/** Nothing is asked yet. */
export function createMongoStore(client: MongoLike, options: MongoStoreOptions): CasStore<Version> {
  const { name, requestTimeoutMs: timeoutMs } = options;
  // Settings of the client that would change what is read or written are set here.
  const settings = { ignoreUndefined: true, raw: false, promoteValues: true, readPreference: "primary" };
  const database = client.db(options.database, settings) as Database;
  const collection: Collection = database.collection(options.collection, settings);
  const READ = { timeoutMs, readConcern: { level: "majority" } };
  const WRITE = { timeoutMs, writeConcern: { w: "majority", j: true } };
  let closed = false;
  let known: { readonly serverId: string; readonly untilMs: number } | undefined;

  /** Runs one request within its bound; what the driver says is typed. */
  async function request<T>(send: () => Promise<T>): Promise<T> {
    if (closed) throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
    try {
      if (!isConnected(client)) await connect();
      // The driver's own bound comes first, since it knows whether anything was sent.
      return await within({ backend: name, timeoutMs: timeoutMs + BOUND_SLACK_MS }, send);
    } catch (error) {
      known = undefined;
      throw faultOf(name, error);
    }
  }

  /** Before the request, which must not wait inside the driver and be sent when nobody waits for it any more. */
  async function connect(): Promise<void> {
    try {
      await within({ backend: name, timeoutMs }, () => client.connect());
    } catch (error) {
      const late = error instanceof BackendError && error.code === "BACKEND_TIMEOUT";
      throw notConnected(
        name,
        late ? (complaintOf(client) ?? new Error(`not within ${timeoutMs} ms`)) : error,
      );
    }
    if (closed) throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "closed" });
  }

  const hello = (): Promise<Readonly<Record<string, unknown>>> =>
    request(() => database.command({ hello: 1 }, { timeoutMs }));

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

  /** The documents of these ids, all as they were at one instant, and the clock. */
  async function read(
    ids: readonly Found["_id"][],
  ): Promise<{ readonly found: readonly Found[]; readonly now: ClockReading }> {
    const stages = [{ $match: { _id: { $in: ids } } }, { $addFields: { nowMs: NOW } }];
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
      mark: mark === undefined ? undefined : { value: String(mark.text), version: String(mark.v) },
      origin: "",
      serverId: where.serverId,
    };
  }

  function recordIn(found: Found, key: string): { readonly value: KeptKey; readonly version: Version } {
    const { text, v } = found;
    if (typeof text !== "string" || typeof v !== "string") throw noRecord(name, key);
    return { value: parseRecord(text, { backend: name, key }), version: v };
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
      const forgetAtMs = Math.max(next.forgetAt, next.lock?.expiresAt ?? 0);
      const fields = {
        v: newVersion(),
        text: formatRecord(key, next),
        forgetAt: new Date(Math.ceil(forgetAtMs)),
      };
      const written =
        look.key === undefined
          ? await insert({ _id: key, ...fields })
          : await replace({ _id: key, v: look.key.version }, fields);
      if (written === "conflict" || !onMark) return written;
      // What was written under another mark stays, as what is executed late does: it blocks the key for one TTL, and nobody
      // has been told that it is his.
      const { found } = await read([MARK]);
      const mark = found[0];
      return mark !== undefined && mark.v === look.mark?.version ? "written" : "conflict";
    },

    async lookAtMark(): Promise<MarkLook<Version>> {
      const [{ found, now }, server] = await Promise.all([read([MARK]), serverId()]);
      return markIn(found, { now, serverId: server });
    },

    async putMark(text, seen) {
      if (seen !== undefined) return replace({ _id: MARK, v: seen }, { v: newVersion(), text });
      await letItForget();
      return insert({ _id: MARK, v: newVersion(), text });
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
        request(() => (client.db(database_) as Database).command(command, { timeoutMs })),
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

  /** The server deletes what is past by itself, where the client may say so; `forget` does the same. */
  async function letItForget(): Promise<void> {
    const past = { expireAfterSeconds: 0, timeoutMs };
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

function newVersion(): string {
  return randomBytes(16).toString("hex");
}
