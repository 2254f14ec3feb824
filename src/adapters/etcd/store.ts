/**
 * Locks in etcd, as a store with compare and swap. etcd shows no clock, but it ends leases: a lock is there as long as its
 * key, which hangs on a lease of its own, and so is a quarantine.
 */
import type { ListPage, ListRequest } from "../../backend.js";
import { RESERVATION_MS, type KeptLine } from "../../engine/line.js";
import type { KeptKey, KeptLock } from "../../engine/record.js";
import { BackendError } from "../../errors.js";
import type { CasStore, Intent, Look, MarkLook, Reliance } from "../shared/cas-store.js";
import { formatLine, parseLine } from "../shared/record-text.js";
import { noRecord } from "../shared/refusals.js";
import { connect, type EtcdKeyValue, type EtcdLike, type EtcdWatchClient } from "./client.js";
import { ABSENT, bytes, NEITHER, sameText, textOf, unchanged, type Revisions } from "./compare.js";
import { examine } from "./examination.js";
import { faultOf, isLeaseGone } from "./faults.js";
import { openLeases } from "./leases.js";
import { listKeys } from "./list-keys.js";
import { openMarks } from "./marks.js";
import { createTransactions, type Write } from "./transactions.js";
import { watchKey } from "./watch.js";

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
  const { watchClient } = client;
  const leases = openLeases(client, call, retentionMs);
  const transactions = createTransactions({ name, client, call, callTimeoutMs });
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

  async function keptIn(
    key: string,
    lock: EtcdKeyValue | undefined,
    {
      counter,
      line,
    }: { readonly counter: EtcdKeyValue | undefined; readonly line: EtcdKeyValue | undefined },
  ): Promise<Look<Revisions>["key"]> {
    if (lock === undefined && counter === undefined && line === undefined) return undefined;
    const counted = counter === undefined ? "0" : textOf(counter.value);
    if (!/^\d{1,16}$/.test(counted)) throw noRecord(name, key);
    const value: KeptKey = {
      lock: lock === undefined ? undefined : await lockIn(key, lock),
      counter: BigInt(counted),
      forgetAt: Number.MAX_SAFE_INTEGER,
      line: lineIn(line?.value),
    };
    const version = {
      text: lock === undefined ? undefined : textOf(lock.value),
      first: lock?.mod_revision ?? ABSENT,
      second: counter?.mod_revision ?? ABSENT,
      lease: lock?.lease ?? ABSENT,
      line: line?.mod_revision ?? ABSENT,
    };
    return { value, version };
  }

  async function lockIn(key: string, { value, lease }: EtcdKeyValue): Promise<KeptLock> {
    const [, fence, owner] = /^(\d{1,16}) (.*)$/s.exec(textOf(value)) ?? [];
    // Without a lease it would never end: somebody else wrote it.
    if (fence === undefined || owner === undefined || lease === ABSENT) throw noRecord(name, key);
    return { owner, fence: BigInt(fence), expiresAt: await leases.endOf(lease) };
  }

  const keysOf = (key: string): readonly [lock: Buffer, counter: Buffer, line: Buffer] => [
    bytes(`${prefix}/l/${key}`),
    bytes(`${prefix}/f/${key}`),
    bytes(`${prefix}/w/${key}`),
  ];

  /**
   * How the line is written. One with a reservation ends soon, should nobody come: of a cluster without a clock nobody
   * else could tell that the time of the reservation is up.
   */
  async function lineChange(lineKey: Buffer, next: KeptLine | undefined, seen: Revisions): Promise<object[]> {
    if (next === undefined) {
      return seen.line === ABSENT ? [] : [{ request_delete_range: { key: lineKey } }];
    }
    const lease = await (next.reserved === undefined ? leases.forCounter() : leases.grant(RESERVATION_MS));
    return [{ request_put: { key: lineKey, value: bytes(formatLine(next)), lease } }];
  }

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
      const [lockKey, counterKey, lineKey] = keysOf(key);
      const early = ttlMs !== undefined && !heldByOthers.has(key);
      const [{ header, found }, lease] = await Promise.all([
        transactions.read(markKey, holdKey, lockKey, counterKey, lineKey),
        early ? leases.grant(ttlMs) : undefined,
      ]);
      const [mark, hold, lock, counter, line] = found;
      const [marked, kept] = await Promise.all([
        marks.look(header, mark, hold),
        keptIn(key, lock, { counter, line }),
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
      const [lockKey, counterKey, lineKey] = keysOf(key);
      const seen = look.key?.version ?? NEITHER;
      const before = look.key?.value;
      const { lock } = next;
      const isNew = lock !== undefined && lock.expiresAt !== before?.lock?.expiresAt;
      const ttlMs = isNew ? lock.expiresAt - look.now.atMostMs : 0;
      const lease = isNew ? (prepared.get(look) ?? (await leases.grant(ttlMs))) : undefined;
      if (isNew) prepared.delete(look);
      else dropPrepared(look);
      const compare: object[] = [...sameText(lockKey, seen), unchanged(counterKey, seen.second)];
      const isLineNew = next.line !== before?.line;
      // Not in the way of an extension, to which the line is nothing; but a release must see who came meanwhile.
      const isHeld = before?.lock !== undefined && lock !== undefined;
      if (isLineNew || !isHeld) compare.push(unchanged(lineKey, seen.line));
      if (onMark) {
        const mark = look.mark?.version ?? NEITHER;
        compare.push(...sameText(markKey, mark), unchanged(holdKey, mark.second));
      }
      const changes: object[] = [];
      if (lock === undefined) {
        if (before?.lock !== undefined) changes.push({ request_delete_range: { key: lockKey } });
      } else if (isNew) {
        const value = bytes(`${lock.fence} ${lock.owner}`);
        changes.push({ request_put: { key: lockKey, value, lease } });
      }
      const isPlace = isLineNew && isPlaceOnly(before, next);
      const line = isLineNew
        ? await lineChange(lineKey, next.line, seen).catch((error: unknown) => {
            if (isPlace) throw error;
            // A lock is not kept from its owner, nor a release refused, for want of a lease for those who wait.
            return [{ request_delete_range: { key: lineKey } }];
          })
        : [];
      if (isPlace) {
        rememberHeld(key);
        return transactions.write({ key, compare, success: line });
      }
      const done = await write(
        { key, compare, success: changes },
        { keys: [counterKey, lineKey], line, next, look },
      );
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
      const { header, found } = await transactions.read(markKey, holdKey);
      return marks.look(header, found[0], found[1]);
    },

    putMark: (text: string, seen: Revisions | undefined): Promise<"written" | "conflict"> =>
      marks.put(text, seen),

    list: (request: ListRequest): Promise<ListPage> => listKeys({ client, call, prefix }, request),

    examine: () => examine(client, call),

    ...(watchClient === undefined ? {} : { watch: watchWith(watchClient) }),

    async close(): Promise<void> {
      if (closed) return;
      closed = true;
      connection.leave();
    },
  };

  function watchWith(watching: EtcdWatchClient): NonNullable<CasStore<Revisions>["watch"]> {
    return (key, changed) => {
      const [lockKey, , lineKey] = keysOf(key);
      const tell = (line: KeptLine | undefined, isFree: boolean): void => {
        if (!closed) changed({ line, isFree });
      };
      return watchKey({
        client: watching,
        key: lineKey,
        timeoutMs: callTimeoutMs,
        began() {
          // What was before the watch; where that cannot be read, the next change is told all the same.
          transactions.read(lockKey, lineKey).then(
            ({ found: [lock, line] }) => tell(lineIn(line?.value), lock === undefined),
            () => undefined,
          );
        },
        changed(value) {
          const line = lineIn(value);
          // A reservation is only made where no lock is.
          tell(line, line?.reserved !== undefined);
        },
      });
    };
  }

  /** One transaction; the counter with it, whose retention begins anew. */
  async function write(
    { success: changes, ...relying }: Write,
    kept: {
      readonly keys: readonly [counter: Buffer, line: Buffer];
      readonly line: readonly object[];
      readonly next: KeptKey;
      readonly look: Look<Revisions>;
    },
  ): Promise<"written" | "conflict"> {
    const { next, line, look } = kept;
    const [counterKey, lineKey] = kept.keys;
    try {
      const lease = await leases.forCounter();
      const counter = { request_put: { key: counterKey, value: bytes(`${next.counter}`), lease } };
      return await transactions.write({ ...relying, success: [...changes, ...line, counter] });
    } catch (error) {
      if (isLeaseGone(error instanceof BackendError ? error.cause : error)) {
        // Of a memory that is gone, or ended while this process slept.
        leases.forgetCounters();
        return "conflict";
      }
      const isFull = error instanceof BackendError && error.code === "BACKEND_OUT_OF_MEMORY";
      const deletesOnly = changes.length > 0 && changes.every((each) => "request_delete_range" in each);
      // A full etcd still deletes: a release works, the counter keeps the time that it has, and nobody stands in line.
      if (!isFull || !deletesOnly || next.counter !== look.key?.value.counter) throw error;
      const success = [...changes, { request_delete_range: { key: lineKey } }];
      return transactions.write({ ...relying, success: line.length === 0 ? changes : success });
    }
  }
}

function lineIn(value: Uint8Array | undefined): KeptLine | undefined {
  return value === undefined ? undefined : parseLine(textOf(value));
}

/** Whether nothing is new but who waits. */
function isPlaceOnly(before: KeptKey | undefined, next: KeptKey): boolean {
  return (
    before !== undefined &&
    next.lock === before.lock &&
    next.counter === before.counter &&
    next.forgetAt === before.forgetAt
  );
}
