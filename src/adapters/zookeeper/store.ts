/**
 * ZooKeeper as a store with compare and swap. A record is a persistent znode under a hash of its key. The mark has a
 * seal: a child whose name is a hash of the mark's text, always written together with it. A write that relies on a mark
 * checks that its seal is there, not its version: versions count from 0 again in a znode that was deleted and created, or in
 * a store that was wiped.
 */
import { randomBytes } from "node:crypto";
import type { Examination, ListPage, ListRequest } from "../../backend.js";
import { isForgotten, keptNow, type ClockReading, type KeptKey } from "../../engine/record.js";
import { BackendError } from "../../errors.js";
import type { CasStore, Look, MarkLook, Stored } from "../shared/cas-store.js";
import { keepWatching } from "../shared/keep-watching.js";
import { placeOf, sealOf } from "../shared/place.js";
import { formatRecord, keyOfRecord, parseRecord } from "../shared/record-text.js";
import { brokenMark } from "../shared/refusals.js";
import type { Calls, Connection, Step, Znode } from "./connection.js";
import { examine } from "./examination.js";

/** The version of a record's znode; for the mark the name of its seal. */
type Version = string;

/** Names the store to all backends on it, whatever their prefix. */
const SERVER = "/quorum-lock/server";
/** So many records of a folder are looked at and deleted at a time: more than are written meanwhile. */
const FORGET_MAX = 512;

/** Nothing is asked yet. */
export function createZooKeeperStore(
  connection: Connection,
  { name, prefix }: { readonly name: string; readonly prefix: string },
): CasStore<Version> {
  const top = `/${prefix}`;
  const markPath = `${top}/mark`;
  const keysPath = `${top}/keys`;
  /** Written to read the clock: the server stamps what is written. */
  const clockPath = `${top}/clock`;
  const sealPath = (seal: string): string => `${markPath}/${seal}`;
  const folderPath = (folder: string): string => `${keysPath}/${folder}`;
  /** Folders are looked through for what is forgotten one after the other, by each session from another one on. */
  let nextFolder = Math.floor(Math.random() * 256);
  /** Denied once is denied for good: the server is then known by its mark only. */
  let mayNameServer = true;

  function recordPath(key: string): string {
    const place = placeOf(key);
    return `${folderPath(place.folder)}/${place.name}`;
  }

  /** Reads behind a reading of the clock on the same connection, so that they are no older than it. */
  async function lookOn<T>(on: Calls, reads: () => Promise<T>): Promise<readonly [MarkLook<Version>, T]> {
    const [clock, mark, server, more] = await Promise.all([
      on.touch(clockPath),
      on.get(markPath),
      on.get(SERVER).catch(denied),
      reads(),
    ]);
    if (clock === undefined) {
      for (const path of [top, clockPath, keysPath]) await on.create(path);
      return lookOn(on, reads);
    }
    const now: ClockReading = { atLeastMs: clock, atMostMs: clock + 1 };
    const look: MarkLook<Version> = {
      now,
      wall: now,
      mark: mark === undefined ? undefined : { value: mark.text, version: sealOf(mark.text) },
      origin: "",
      serverId: server?.text ?? "",
    };
    return [look, more];
  }

  function denied(error: unknown): undefined {
    if (error instanceof BackendError && error.code === "BACKEND_NO_PERMISSION") return undefined;
    throw error;
  }

  async function nameServer(on: Calls): Promise<void> {
    if (!mayNameServer) return;
    try {
      await on.create("/quorum-lock");
      await on.multi([{ do: "create", path: SERVER, text: randomBytes(16).toString("hex") }]);
    } catch (error) {
      denied(error);
      mayNameServer = false;
    }
  }

  function kept(znode: Znode, key: string): Stored<KeptKey, Version> {
    return {
      value: parseRecord(znode.text, { backend: name, key }),
      version: String(znode.version),
    };
  }

  /** The mark of the look is gone, or somebody took it apart, which would go on for ever. */
  async function refuseBroken(on: Calls, seal: string): Promise<void> {
    const mark = await on.get(markPath);
    if (mark === undefined || sealOf(mark.text) !== seal) return;
    if ((await on.children(markPath)).includes(seal)) return;
    throw brokenMark(name, markPath, `its child ${seal}, which is written together with it, is missing`);
  }

  return {
    look: (key) =>
      connection.run(async (on): Promise<Look<Version>> => {
        const [look, znode] = await lookOn(on, () => on.get(recordPath(key)));
        return { ...look, key: znode === undefined ? undefined : kept(znode, key) };
      }),

    put: (key, next, { look }) =>
      connection.run(async (on) => {
        const path = recordPath(key);
        const text = formatRecord(key, next);
        // The client takes a version of 0 for any, and so it must not stay one.
        if (look.key?.version === "0") {
          await on.overwrite(path, { text: formatRecord(key, look.key.value), version: 0 });
          return "conflict";
        }
        const write: readonly Step[] =
          look.key === undefined
            ? [
                { do: "create", path, text },
                { do: "set", path, text, version: undefined },
              ]
            : [{ do: "set", path, text, version: Number(look.key.version) }];
        const { mark } = look;
        // Also where the mark need not be the same: a version of another memory may mean another record.
        const condition: readonly Step[] =
          mark === undefined ? [] : [{ do: "check", path: sealPath(mark.version) }];
        const reply = await on.multi([...condition, ...write]);
        if (reply === "done") return "written";
        if (mark !== undefined && reply.failedAt === 0) await refuseBroken(on, mark.version);
        else if (look.key === undefined) await on.create(folderPath(placeOf(key).folder));
        return "conflict";
      }),

    lookAtMark: () =>
      connection.run(async (on) => {
        const [look] = await lookOn(on, async () => undefined);
        return look;
      }),

    putMark: (text, seen) =>
      connection.run(async (on) => {
        // Before there is a mark, so that no answer ever names the server otherwise.
        if (seen === undefined) await nameServer(on);
        const reply = await on.multi([
          ...(seen === undefined
            ? [{ do: "create", path: markPath, text } as const]
            : [
                { do: "remove", path: sealPath(seen) } as const,
                { do: "set", path: markPath, text, version: undefined } as const,
              ]),
          { do: "create", path: sealPath(sealOf(text)), text: "" },
        ]);
        if (reply === "done") return "written";
        if (seen !== undefined) await refuseBroken(on, seen);
        return "conflict";
      }),

    list: ({ prefix: begin, cursor, pageSize }: ListRequest) =>
      connection.run(async (on): Promise<ListPage> => {
        const [{ now }, folders] = await lookOn(on, () => on.children(keysPath));
        const left = [...folders].sort().filter((folder) => cursor === undefined || folder >= cursor);
        const keys: string[] = [];
        let seen = 0;
        let at = 0;
        for (; at < left.length && seen < pageSize; at++) {
          const znodes = await recordsIn(on, left[at] ?? "", Number.POSITIVE_INFINITY);
          seen += znodes.length;
          for (const { znode } of znodes) {
            const record = recordOf(znode.text);
            if (record === undefined || keptNow(record.value, now).lock === undefined) continue;
            if (record.key.startsWith(begin)) keys.push(record.key);
          }
        }
        return { keys, next: left[at] };
      }),

    examine: (): Promise<Examination> =>
      connection.run(async (on) => {
        const [{ now }, acl] = await lookOn(on, () => on.acl(markPath).catch(denied));
        return examine({ peer: on.peer, now, acl: acl ?? [] });
      }),

    forget: (now) =>
      connection.run(async (on) => {
        const folder = (nextFolder++ % 256).toString(16).padStart(2, "0");
        const znodes = await recordsIn(on, folder, FORGET_MAX);
        const forgotten = znodes.filter(({ znode }) => {
          const record = recordOf(znode.text);
          return record !== undefined && isForgotten(record.value, now);
        });
        await Promise.all(forgotten.map(({ path, znode }) => on.remove(path, znode.version)));
      }),

    watch: (key, changed) =>
      keepWatching(({ well, gone }) => {
        let isEnded = false;
        const arm = (): void => {
          connection
            .run((on) => on.watch(recordPath(key), () => void (isEnded || arm())))
            .then((znode) => {
              if (isEnded) return;
              const kept = znode === undefined ? undefined : recordOf(znode.text)?.value;
              changed({ line: kept?.line, isFree: kept?.lock === undefined });
              // A watch needs something that changes.
              if (znode === undefined) gone();
              else well();
            })
            .catch(gone);
        };
        arm();
        return () => {
          isEnded = true;
        };
      }),

    close: () => connection.leave(),
  };

  /** The records of a folder, or that many of them from anywhere in it. */
  async function recordsIn(
    on: Calls,
    folder: string,
    max: number,
  ): Promise<readonly { readonly path: string; readonly znode: Znode }[]> {
    const names = await on.children(folderPath(folder));
    const from = names.length > max ? Math.floor(Math.random() * (names.length - max + 1)) : 0;
    const paths = names.slice(from, from + max).map((each) => `${folderPath(folder)}/${each}`);
    const znodes = await Promise.all(
      paths.map(async (path) => ({ path, znode: await on.get(path).catch(denied) })),
    );
    return znodes.flatMap(({ path, znode }) => (znode === undefined ? [] : [{ path, znode }]));
  }

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
}
