/**
 * Locks in etcd, as a store with compare and swap. etcd shows no clock, but it ends leases: a lock is there as long as its
 * key, which hangs on a lease of its own, and so is a quarantine. Its clock, as far as a session sees it, stands still at
 * "between 0 and 1 s", and what is left of a lease is an end by that clock.
 */
import { randomBytes } from "node:crypto";
import type { ListPage, ListRequest } from "../../backend.js";
import { formatMark, parseMark, type Mark } from "../../engine/mark.js";
import type { ClockReading, KeptKey, KeptLock } from "../../engine/record.js";
import { BackendError } from "../../errors.js";
import type { CasStore, Intent, Look, MarkLook, Reliance } from "../shared/cas-store.js";
import { noRecord } from "../shared/refusals.js";
import { connect, type EtcdHeader, type EtcdKeyValue, type EtcdLike } from "./client.js";
import { examine } from "./examination.js";
import { faultOf, isLeaseGone } from "./faults.js";
import { openLeases } from "./leases.js";

/**
 * By what the two keys of a lock (itself, counter), or of the mark (itself, quarantine), are known again. Text as well as
 * revisions, since a cluster whose data were wiped counts its revisions from 1 again.
 */
export interface Revisions {
  /** The text of the first; undefined for one that is not there. */
  readonly text: string | undefined;
  /** When it was written; "0" for one that is not there. */
  readonly first: string;
  readonly second: string;
  /** The lease of the lock, or of the quarantine; "0" for none. */
  readonly lease: string;
}

/** What a session needs to know of its backend. */
export interface EtcdStoreOptions {
  readonly name: string;
  readonly prefix: string;
  readonly callTimeoutMs: number;
  readonly retentionMs: number;
}

/** etcd tells what is left of a lease in whole seconds, rounded down. */
const NOW: ClockReading = { atLeastMs: 0, atMostMs: 1_000 };
const ABSENT = "0";
const NEITHER: Revisions = { text: undefined, first: ABSENT, second: ABSENT, lease: ABSENT };
/** So many keys are remembered as held by others. */
const HELD_MAX = 1_024;
/** Where servers carry their name, for all prefixes alike. */
const SERVER_KEY = "quorum-lock/server";

interface ServerId {
  readonly incarnation: string;
  readonly id: string;
}

/** Opens a store on the connection of a client. */
export function openEtcdStore(users: EtcdLike, options: EtcdStoreOptions): CasStore<Revisions> {
  const { name, prefix, callTimeoutMs, retentionMs } = options;
  const connection = connect(users);
  const { client } = connection;
  const leases = openLeases(client, call, retentionMs);
  const markKey = bytes(`${prefix}/mark`);
  const holdKey = bytes(`${prefix}/quarantine`);
  /** The lease that a look was given for the lock that may follow. */
  const prepared = new WeakMap<MarkLook<Revisions>, string>();
  /** Keys that somebody else held when they were looked at last: a lease for them would most likely be in vain. */
  const heldByOthers = new Set<string>();
  let server: ServerId | undefined;
  let closed = false;

  async function call<T>(ask: (rpc: { readonly deadline: number }) => Promise<T>): Promise<T> {
    if (closed)
      throw new BackendError("BACKEND_NOT_CONNECTED", { backend: name, what: "its session is closed" });
    try {
      return await ask({ deadline: Date.now() + callTimeoutMs });
    } catch (error) {
      throw faultOf(name, error);
    }
  }

  /** Reads several keys at one revision, through the quorum of the cluster. */
  async function read(
    ...keys: readonly Buffer[]
  ): Promise<{ readonly header: EtcdHeader; readonly found: readonly (EtcdKeyValue | undefined)[] }> {
    const success = keys.map((key) => ({ request_range: { key } }));
    const { header, responses } = await call((options) => client.kv.txn({ success }, options));
    return { header, found: keys.map((_, i) => responses[i]?.response_range?.kvs[0]) };
  }

  /** Until when what hangs on a lease is there, by the clock of {@link NOW}. Its key was there, so that it is not over. */
  async function endOf(lease: string): Promise<number> {
    const { TTL } = await call((rpc) => client.leaseClient.leaseTimeToLive({ ID: lease }, rpc));
    return (Math.max(0, Number(TTL)) + 1) * 1_000;
  }

  async function markLook(
    header: EtcdHeader,
    mark: EtcdKeyValue | undefined,
    hold: EtcdKeyValue | undefined,
  ): Promise<MarkLook<Revisions>> {
    const basis = { now: NOW, wall: undefined, origin: header.cluster_id };
    if (mark === undefined) return { ...basis, mark: undefined, serverId: server?.id ?? "" };
    const text = String(Buffer.from(mark.value));
    const parsed = parseMark(text);
    const version = {
      text,
      first: mark.mod_revision,
      second: hold?.mod_revision ?? ABSENT,
      lease: hold?.lease ?? ABSENT,
    };
    if (parsed === undefined) return { ...basis, mark: { value: text, version }, serverId: "" };
    const serverId = await idOfServer(parsed.incarnation);
    if (hold === undefined) return { ...basis, mark: { value: text, version }, serverId };
    const quarantinedUntil = hold.lease === ABSENT ? Number.MAX_SAFE_INTEGER : await endOf(hold.lease);
    return { ...basis, mark: { value: formatMark({ ...parsed, quarantinedUntil }), version }, serverId };
  }

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
        id: succeeded || found === undefined ? made : String(Buffer.from(found.value)),
      };
    } catch (error) {
      if (!(error instanceof BackendError) || error.code !== "BACKEND_NO_PERMISSION") throw error;
      server = { incarnation, id: "" };
    }
    return server.id;
  }

  async function keptIn(
    key: string,
    lock: EtcdKeyValue | undefined,
    counter: EtcdKeyValue | undefined,
  ): Promise<Look<Revisions>["key"]> {
    if (lock === undefined && counter === undefined) return undefined;
    const counted = counter === undefined ? "0" : String(Buffer.from(counter.value));
    if (!/^\d{1,16}$/.test(counted)) throw noRecord(name, key);
    const value: KeptKey = {
      lock: lock === undefined ? undefined : await lockIn(key, lock),
      counter: BigInt(counted),
      forgetAt: Number.MAX_SAFE_INTEGER,
    };
    const version = {
      text: lock === undefined ? undefined : String(Buffer.from(lock.value)),
      first: lock?.mod_revision ?? ABSENT,
      second: counter?.mod_revision ?? ABSENT,
      lease: lock?.lease ?? ABSENT,
    };
    return { value, version };
  }

  async function lockIn(key: string, { value, lease }: EtcdKeyValue): Promise<KeptLock> {
    const [, fence, owner] = /^(\d{1,16}) (.*)$/s.exec(String(Buffer.from(value))) ?? [];
    // Without a lease it would never end: somebody else wrote it.
    if (fence === undefined || owner === undefined || lease === ABSENT) throw noRecord(name, key);
    return { owner, fence: BigInt(fence), expiresAt: await endOf(lease) };
  }

  const keysOf = (key: string): readonly [lock: Buffer, counter: Buffer] => [
    bytes(`${prefix}/l/${key}`),
    bytes(`${prefix}/f/${key}`),
  ];

  function rememberHeld(key: string): void {
    if (heldByOthers.size >= HELD_MAX) heldByOthers.clear();
    heldByOthers.add(key);
  }

  function dropPrepared(look: MarkLook<Revisions>): void {
    const lease = prepared.get(look);
    if (lease === undefined) return;
    prepared.delete(look);
    leases.drop(lease);
  }

  return {
    async look(key: string, { ttlMs }: Intent): Promise<Look<Revisions>> {
      const [lockKey, counterKey] = keysOf(key);
      const early = ttlMs !== undefined && !heldByOthers.has(key);
      const [{ header, found }, lease] = await Promise.all([
        read(markKey, holdKey, lockKey, counterKey),
        early ? leases.grant(ttlMs) : undefined,
      ]);
      const [mark, hold, lock, counter] = found;
      const [marked, kept] = await Promise.all([
        markLook(header, mark, hold),
        keptIn(key, lock, counter),
      ]).catch((error: unknown) => {
        if (lease !== undefined) leases.drop(lease);
        throw error;
      });
      const look = { ...marked, key: kept };
      if (lease !== undefined) prepared.set(look, lease);
      return look;
    },

    discard(look: MarkLook<Revisions>, key: string): void {
      if (prepared.has(look)) rememberHeld(key);
      dropPrepared(look);
    },

    async put(
      key: string,
      next: KeptKey,
      { look, onMark }: Reliance<Revisions>,
    ): Promise<"written" | "conflict"> {
      const [lockKey, counterKey] = keysOf(key);
      const seen = look.key?.version ?? NEITHER;
      const before = look.key?.value.lock;
      const { lock } = next;
      const isNew = lock !== undefined && lock.expiresAt !== before?.expiresAt;
      const ttlMs = isNew ? lock.expiresAt - look.now.atMostMs : 0;
      const lease = isNew ? (prepared.get(look) ?? (await leases.grant(ttlMs))) : undefined;
      if (isNew) prepared.delete(look);
      else dropPrepared(look);
      const compare: object[] = [...sameText(lockKey, seen), unchanged(counterKey, seen.second)];
      if (onMark) {
        const mark = look.mark?.version ?? NEITHER;
        compare.push(...sameText(markKey, mark), unchanged(holdKey, mark.second));
      }
      const changes: object[] = [];
      if (lock === undefined) {
        if (before !== undefined) changes.push({ request_delete_range: { key: lockKey } });
      } else if (isNew) {
        const value = bytes(`${lock.fence} ${lock.owner}`);
        changes.push({ request_put: { key: lockKey, value, lease } });
      }
      const done = await write(compare, changes, { key: counterKey, counter: next.counter, look });
      if (done === "written") {
        heldByOthers.delete(key);
        // Nothing hangs on the one before any more.
        if (seen.lease !== ABSENT && (isNew || lock === undefined)) leases.drop(seen.lease);
      } else {
        if (lease !== undefined) leases.drop(lease);
        rememberHeld(key);
      }
      return done;
    },

    async lookAtMark(): Promise<MarkLook<Revisions>> {
      const { header, found } = await read(markKey, holdKey);
      return markLook(header, found[0], found[1]);
    },

    async putMark(text: string, seen: Revisions | undefined): Promise<"written" | "conflict"> {
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

    async list({ prefix: wanted, cursor, pageSize }: ListRequest): Promise<ListPage> {
      const folder = bytes(`${prefix}/l/`);
      const from = bytes(`${prefix}/l/${wanted}`);
      const key = cursor === undefined ? from : Buffer.from(cursor, "base64");
      const request = { key, range_end: after(from), limit: pageSize, keys_only: true };
      const { kvs, more } = await call((rpc) => client.kv.range(request, rpc));
      const last = kvs.at(-1);
      return {
        keys: kvs.map((each) => String(Buffer.from(each.key).subarray(folder.length))),
        next:
          more && last !== undefined
            ? Buffer.concat([Buffer.from(last.key), Buffer.of(0)]).toString("base64")
            : undefined,
      };
    },

    examine: () => examine(client, call),

    async close(): Promise<void> {
      if (closed) return;
      closed = true;
      connection.leave();
    },
  };

  /** One transaction; the counter with it, whose retention begins anew. */
  async function write(
    compare: readonly object[],
    changes: readonly object[],
    kept: { readonly key: Buffer; readonly counter: bigint; readonly look: Look<Revisions> },
  ): Promise<"written" | "conflict"> {
    const request = (success: readonly object[]): object => ({ compare, success });
    const commit = async (txn: object): Promise<"written" | "conflict"> => {
      const { succeeded } = await call((rpc) => client.kv.txn(txn, rpc));
      return succeeded ? "written" : "conflict";
    };
    try {
      const lease = await leases.forCounter();
      const counter = { request_put: { key: kept.key, value: bytes(`${kept.counter}`), lease } };
      return await commit(request([...changes, counter]));
    } catch (error) {
      if (isLeaseGone(error instanceof BackendError ? error.cause : error)) {
        // Of a memory that is gone, or ended while this process slept.
        leases.forgetCounters();
        return "conflict";
      }
      const isFull = error instanceof BackendError && error.code === "BACKEND_OUT_OF_MEMORY";
      const deletesOnly = changes.length > 0 && changes.every((each) => "request_delete_range" in each);
      // A full etcd still deletes: a release works, and the counter keeps the time that it has.
      if (!isFull || !deletesOnly || kept.counter !== kept.look.key?.value.counter) throw error;
      return commit(request(changes));
    }
  }
}

function bytes(text: string): Buffer {
  return Buffer.from(text);
}

function unchanged(key: Buffer, mod_revision: string): object {
  return { result: "Equal", target: "Mod", key, mod_revision };
}

/** Still the same text, written at the same time; or still not there. */
function sameText(key: Buffer, { text, first }: Revisions): readonly object[] {
  const same = unchanged(key, first);
  return text === undefined ? [same] : [same, { result: "Equal", target: "Value", key, value: bytes(text) }];
}

function sameIncarnation(before: string | undefined, mark: Mark | undefined): boolean {
  return before !== undefined && parseMark(before)?.incarnation === mark?.incarnation;
}

/** The first key that does not begin with `from`; never without one, since all begin with a prefix of ASCII. */
function after(from: Buffer): Buffer {
  const end = Buffer.from(from);
  for (let i = end.length - 1; i >= 0; i--) {
    const byte = end[i] ?? 0;
    if (byte < 0xff) {
      end[i] = byte + 1;
      return end.subarray(0, i + 1);
    }
  }
  return Buffer.of(0);
}
