/**
 * Locks in etcd, as a store with compare and swap. etcd shows no clock, but it ends leases: a lock is there as long as its
 * key, which hangs on a lease of its own, and so is a quarantine.
 */
import type { ListPage, ListRequest } from "../../backend.js";
import type { KeptKey, KeptLock } from "../../engine/record.js";
import { BackendError } from "../../errors.js";
import type { CasStore, Intent, Look, MarkLook, Reliance } from "../shared/cas-store.js";
import { noRecord } from "../shared/refusals.js";
import { connect, type EtcdHeader, type EtcdKeyValue, type EtcdLike } from "./client.js";
import { ABSENT, bytes, NEITHER, sameText, textOf, unchanged, type Revisions } from "./compare.js";
import { examine } from "./examination.js";
import { faultOf, isLeaseGone } from "./faults.js";
import { openLeases } from "./leases.js";
import { listKeys } from "./list-keys.js";
import { openMarks } from "./marks.js";

/** What a session needs to know of its backend. */
export interface EtcdStoreOptions {
  readonly name: string;
  readonly prefix: string;
  readonly callTimeoutMs: number;
  readonly retentionMs: number;
}

/** So many keys are remembered as held by others. */
const HELD_MAX = 1_024;
/** Opens a store on the connection of a client. */
export function openEtcdStore(users: EtcdLike, options: EtcdStoreOptions): CasStore<Revisions> {
  const { name, prefix, callTimeoutMs, retentionMs } = options;
  const connection = connect(users);
  const { client } = connection;
  const leases = openLeases(client, call, retentionMs);
  const marks = openMarks({ client, call, leases, prefix });
  const { markKey, holdKey } = marks;
  /** The lease that a look was given for the lock that may follow. */
  const prepared = new WeakMap<MarkLook<Revisions>, string>();
  /** Keys that somebody else held when they were looked at last: a lease for them would most likely be in vain. */
  const heldByOthers = new Set<string>();
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

  async function keptIn(
    key: string,
    lock: EtcdKeyValue | undefined,
    counter: EtcdKeyValue | undefined,
  ): Promise<Look<Revisions>["key"]> {
    if (lock === undefined && counter === undefined) return undefined;
    const counted = counter === undefined ? "0" : textOf(counter.value);
    if (!/^\d{1,16}$/.test(counted)) throw noRecord(name, key);
    const value: KeptKey = {
      lock: lock === undefined ? undefined : await lockIn(key, lock),
      counter: BigInt(counted),
      forgetAt: Number.MAX_SAFE_INTEGER,
    };
    const version = {
      text: lock === undefined ? undefined : textOf(lock.value),
      first: lock?.mod_revision ?? ABSENT,
      second: counter?.mod_revision ?? ABSENT,
      lease: lock?.lease ?? ABSENT,
    };
    return { value, version };
  }

  async function lockIn(key: string, { value, lease }: EtcdKeyValue): Promise<KeptLock> {
    const [, fence, owner] = /^(\d{1,16}) (.*)$/s.exec(textOf(value)) ?? [];
    // Without a lease it would never end: somebody else wrote it.
    if (fence === undefined || owner === undefined || lease === ABSENT) throw noRecord(name, key);
    return { owner, fence: BigInt(fence), expiresAt: await leases.endOf(lease) };
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
        marks.look(header, mark, hold),
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
      return marks.look(header, found[0], found[1]);
    },

    putMark: (text: string, seen: Revisions | undefined): Promise<"written" | "conflict"> =>
      marks.put(text, seen),

    list: (request: ListRequest): Promise<ListPage> => listKeys({ client, call, prefix }, request),

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
