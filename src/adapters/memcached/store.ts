/**
 * Locks in memcached, as a store with compare and swap. One item holds lock and counter of a key, since memcached changes
 * one item at a time. Its clock is that of its process; what it keeps ends with the process.
 */
import { createHash, randomBytes } from "node:crypto";
import type { ListPage } from "../../backend.js";
import { parseMark } from "../../engine/mark.js";
import type { ClockReading, KeptKey } from "../../engine/record.js";
import { BackendError } from "../../errors.js";
import type { CasStore, Look, MarkLook, Reliance, Stored } from "../shared/cas-store.js";
import { atEndOfTurn } from "../shared/end-of-turn.js";
import { formatRecord, parseRecord } from "../shared/record-text.js";
import type { MemcachedLike, MemcachedResponse } from "./client.js";
import { readingOf, type Shown } from "./clock.js";
import { examination } from "./examination.js";
import { linkFault, refused } from "./faults.js";
import { connect, LinkError, type Link } from "./link.js";
import { expirationIn, OPCODES, STATUS, type MemcachedRequest } from "./protocol.js";

/** The version of an item: what memcached calls its CAS unique, 8 bytes. */
export type Cas = Buffer;

/** What every look needs, asked once for all that begin in one turn of the event loop. */
interface Surroundings {
  readonly link: Link;
  readonly process: Promise<Seen & { readonly now: ClockReading; readonly origin: string }>;
  readonly mark: Promise<MemcachedResponse | undefined>;
}

/** What a session needs to know of its backend. */
export interface MemcachedStoreOptions {
  readonly name: string;
  readonly prefix: string;
}

/** On which connection something was read: versions mean nothing on another one. */
interface Seen {
  readonly link: Link;
  /** Seconds since 1970, as the server has it. */
  readonly time: number;
}

const KEY_BYTES_MAX = 250;
/** What text-based tools can name as well. */
const PLAIN = /^[\x21-\x7e]+$/;
/** An item lives up to a second less than it was given, by a clock that is up to two seconds old. */
const ITEM_MARGIN_SECONDS = 3;
/** Names the process for all prefixes alike. */
const SERVER_KEY = "quorum-lock:server";

/** Opens a store on a connection of its own to the server of a client. */
export function openMemcachedStore(users: MemcachedLike, options: MemcachedStoreOptions): CasStore<Cas> {
  const { name, prefix } = options;
  const connection = connect(users);
  const markKey = `${prefix}:mark`;
  const seenOf = new WeakMap<MarkLook<Cas>, Seen>();
  let shown: { readonly link: Link; readonly at: Shown } | undefined;
  let server: { readonly incarnation: string; readonly id: string } | undefined;
  let surroundings: Surroundings | undefined;
  let behind: Pick<Surroundings, "link" | "mark"> | undefined;
  let closed = false;

  async function on<T>(ask: (link: Link) => Promise<T>, link = usable()): Promise<T> {
    try {
      return await ask(link);
    } catch (error) {
      throw error instanceof LinkError ? linkFault(name, error.failure) : error;
    }
  }

  function usable(): Link {
    if (closed) {
      throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "its session is closed" });
    }
    return connection.link();
  }

  /** The item; undefined when there is none. */
  async function read(link: Link, key: string): Promise<MemcachedResponse | undefined> {
    const response = await link.send({ op: OPCODES.get, key });
    const { status, cas } = response.header;
    if (status === STATUS.notFound) return undefined;
    if (status !== STATUS.ok) throw refused(name, status);
    if (cas.every((byte) => byte === 0)) {
      const what = "its items have no versions: it was started with -C (disable CAS), which the lock needs";
      throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
    }
    return response;
  }

  /** What the process says of itself. */
  async function askProcess(
    link: Link,
  ): Promise<Seen & { readonly now: ClockReading; readonly origin: string }> {
    const askedAt = performance.now();
    const stats = await link.stats("");
    const number = (stat: string): number => {
      const value = Number(stats[stat]);
      if (Number.isSafeInteger(value)) return value;
      throw new BackendError("BACKEND_REFUSED", { backend: name, what: `its statistics have no ${stat}` });
    };
    const [uptime, time] = [number("uptime"), number("time")];
    const at = { uptime, askedAt, answeredAt: performance.now() };
    const now = readingOf(at, shown?.link === link ? shown.at : undefined);
    shown = { link, at };
    return { link, time, now, origin: `${number("pid")}-${time - uptime}` };
  }

  /** Asked for ahead of the items of the same turn, so that an item is never older than the mark it was read under. */
  function surroundingsOn(link: Link): Surroundings {
    if (surroundings?.link === link) return surroundings;
    const asked = { link, process: askProcess(link), mark: read(link, markKey) };
    surroundings = asked;
    atEndOfTurn(() => {
      if (surroundings === asked) surroundings = undefined;
    });
    return asked;
  }

  /** The mark, read behind all that was written in this turn of the event loop. */
  function markBehind(link: Link): Promise<MemcachedResponse | undefined> {
    if (behind?.link === link) return behind.mark;
    const mark = new Promise<MemcachedResponse | undefined>((resolve) => {
      atEndOfTurn(() => {
        behind = undefined;
        resolve(read(link, markKey));
      });
    });
    behind = { link, mark };
    return mark;
  }

  async function lookOn(link: Link, key: string | undefined): Promise<Look<Cas>> {
    const around = surroundingsOn(link);
    const [seen, mark, item] = await Promise.all([
      around.process,
      around.mark,
      key === undefined ? undefined : read(link, itemKeyOf(prefix, key)),
    ]);
    const incarnation = mark === undefined ? undefined : parseMark(String(mark.val))?.incarnation;
    const { now, time, origin } = seen;
    const look: Look<Cas> = {
      now,
      wall: { atLeastMs: time * 1_000, atMostMs: (time + 2) * 1_000 },
      mark: mark === undefined ? undefined : { value: String(mark.val), version: mark.header.cas },
      origin,
      serverId: incarnation === undefined ? "" : await idOfServer(link, incarnation),
      key: key === undefined ? undefined : recordIn(key, item),
    };
    seenOf.set(look, seen);
    return look;
  }

  function recordIn(key: string, item: MemcachedResponse | undefined): Stored<KeptKey, Cas> | undefined {
    if (item === undefined) return undefined;
    const value = parseRecord(String(item.val), { backend: name, key });
    return { value, version: item.header.cas };
  }

  /** A process number and a start time would not do: in containers three servers may have the same ones. */
  async function idOfServer(link: Link, incarnation: string): Promise<string> {
    if (server?.incarnation === incarnation) return server.id;
    const made = randomBytes(16).toString("hex");
    const [, found] = await Promise.all([
      link.send({ op: OPCODES.add, key: SERVER_KEY, value: made }),
      read(link, SERVER_KEY),
    ]);
    server = { incarnation, id: found === undefined ? "" : String(found.val) };
    return server.id;
  }

  /** A write that compares; undefined when something else was there. */
  async function write(link: Link, request: MemcachedRequest): Promise<Cas | undefined> {
    const { status, cas } = (await link.send(request)).header;
    if (status === STATUS.ok) return cas;
    if (status === STATUS.exists || status === STATUS.notFound || status === STATUS.notStored)
      return undefined;
    throw refused(name, status);
  }

  /**
   * "replace", and never "set": where memory is short, memcached deletes what a set could not replace, also when the
   * versions differ, and with it somebody's lock.
   */
  const swap = (key: string, value: string, seen: Cas | undefined): MemcachedRequest =>
    seen === undefined ? { op: OPCODES.add, key, value } : { op: OPCODES.replace, key, value, cas: seen };

  return {
    look: (key: string): Promise<Look<Cas>> => on((link) => lookOn(link, key)),

    async put(key: string, next: KeptKey, { look, onMark }: Reliance<Cas>): Promise<"written" | "conflict"> {
      const seen = seenOf.get(look);
      if (closed || seen === undefined || seen.link.isOver()) return "conflict";
      const { link, time } = seen;
      const itemKey = itemKeyOf(prefix, key);
      const untilMs = Math.max(next.forgetAt, next.lock?.expiresAt ?? 0) - look.now.atLeastMs;
      const expiration = expirationIn(Math.ceil(untilMs / 1_000) + ITEM_MARGIN_SECONDS, time);
      const request = { ...swap(itemKey, formatRecord(key, next), look.key?.version), expiration };
      return on(async () => {
        // On one connection, so that the mark is read after the write.
        const [written, mark] = await Promise.all([
          write(link, request),
          onMark ? markBehind(link) : undefined,
        ]);
        if (written === undefined) return "conflict";
        const before = look.mark?.version;
        // The same version before and after: it was there all the time, and so was all that was read with it.
        if (!onMark || (before !== undefined && mark?.header.cas.equals(before) === true)) return "written";
        // Another memory, in which this write is nobody's.
        await link.send({ op: OPCODES.delete, key: itemKey, cas: written });
        return "conflict";
      }, link);
    },

    lookAtMark: (): Promise<MarkLook<Cas>> => on((link) => lookOn(link, undefined)),

    putMark: (text: string, seen: Cas | undefined): Promise<"written" | "conflict"> =>
      on(async (link) =>
        (await write(link, swap(markKey, text, seen))) === undefined ? "conflict" : "written",
      ),

    async list(): Promise<ListPage> {
      const what = "the keys of memcached cannot be listed";
      throw new BackendError("BACKEND_UNSUPPORTED", { backend: name, what });
    },

    examine: () =>
      on(async (link) => {
        const [stats, settings] = await Promise.all([link.stats(""), link.stats("settings")]);
        return examination(stats, settings);
      }),

    async close(): Promise<void> {
      if (closed) return;
      closed = true;
      connection.leave();
    },
  };
}

/** The key of an item: as it is where memcached and its tools can have it, else a hash. The item holds the whole key. */
export function itemKeyOf(prefix: string, key: string): string {
  const plain = `${prefix}:k:${key}`;
  if (PLAIN.test(key) && plain.length <= KEY_BYTES_MAX) return plain;
  return `${prefix}:h:${createHash("sha256").update(key).digest("base64url")}`;
}
