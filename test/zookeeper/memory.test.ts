/** What a ZooKeeper that loses or changes its memory in the middle of a request may not do, and what stays stored. */
import { expect } from "vitest";
import { zookeeper, type ZooKeeperLike } from "../../src/adapters/zookeeper.js";
import { connect } from "../../src/adapters/zookeeper/connection.js";
import { createZooKeeperStore } from "../../src/adapters/zookeeper/store.js";
import type { BackendSession } from "../../src/backend.js";
import { createLocker } from "../../src/lock/locker.js";
import {
  acquire,
  ALICE,
  BOB,
  DEPLOYMENT,
  eventually,
  expectFault,
  grant,
  proposal,
  putInService,
} from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import {
  backendOn,
  childrenOf,
  createClient,
  heldUp,
  recordsOf,
  removeAll,
  test,
  textOf,
  type Place,
  type UsersClient,
} from "./kit.ts";

function held(place: Place, meanwhile: () => Promise<void>): ReturnType<typeof zookeeper> {
  return zookeeper(heldUp(`127.0.0.1:${place.port}`, meanwhile), {
    prefix: place.prefix,
    requestTimeoutMs: 20_000,
  });
}

await describeWithServer("zookeeper", "between the look and the write of a request", () => {
  test("all znodes deleted and a mark written anew: not granted", async ({ place, session, witness }) => {
    const client = await witness(place);
    const other = session(backendOn(place));
    await putInService(other);
    // The folder of the record is there again, too: only the mark tells that this is another memory.
    await grant(other, "k");
    const [path = ""] = await recordsOf(client, place.prefix);
    expect(await other.release("k", ALICE)).toBe("released");
    const remake = async (): Promise<void> => {
      await removeAll(client, `/${place.prefix}`);
      await other.status();
      await make(client, path.slice(0, path.lastIndexOf("/")));
    };
    await removeAll(client, path);
    const late = session(held(place, remake));
    expect((await acquire(late, "k")).kind).toBe("quarantined");
    expect((await other.inspect("k")).lock).toBeUndefined();
  });

  test("a wipe of all data: the connection is gone, and nothing is granted", async ({
    zooServer,
    session,
  }) => {
    const server = await zooServer();
    const place = { port: server.port, prefix: "p" };
    const other = session(backendOn(place));
    await putInService(other);
    let wiping: Promise<void> = Promise.resolve();
    const wipe = async (): Promise<void> => {
      await server.restart("lost");
      await eventually("it answers", 5_000, () => other.status());
    };
    const late = session(held(place, () => (wiping = wipe())));
    const fault = await expectFault(acquire(late, "k"), "BACKEND_DISCONNECTED");
    expect(fault.effect).toBe("unknown");
    await wiping;
    expect((await other.inspect("k")).lock).toBeUndefined();
    expect((await acquire(late, "k")).kind).toBe("quarantined");
  });

  test("a quarantine by hand: not granted, not made anew", async ({ place, session }) => {
    const other = session(backendOn(place));
    await putInService(other);
    // Its folder is there from now on.
    await grant(other, "k");
    await other.release("k", ALICE);
    const quarantining = (): BackendSession =>
      session(held(place, async () => void (await other.quarantine())));
    expect((await acquire(quarantining(), "k")).kind).toBe("quarantined");
    await other.bootstrap((await other.status()).identity.incarnation);
    const healing = { key: "k", owner: ALICE, ttlMs: 1_500, token: proposal(), mayHeal: true };
    expect((await quarantining().extend(healing)).kind).toBe("quarantined");
    expect((await other.inspect("k")).lock).toBeUndefined();
  });

  test("a quarantine by hand does not stop a release", async ({ place, session }) => {
    const other = session(backendOn(place));
    await putInService(other);
    await grant(other, "k");
    const late = session(held(place, async () => void (await other.quarantine())));
    expect(await late.release("k", ALICE)).toBe("released");
    expect((await other.inspect("k")).lock).toBeUndefined();
  });

  test("another's grant: held; and another's change of a record of version 0", async ({
    place,
    session,
    witness,
  }) => {
    const client = await witness(place);
    const other = session(backendOn(place));
    await putInService(other);
    const late = session(held(place, async () => void (await grant(other, "k", { owner: BOB }))));
    expect((await acquire(late, "k")).kind).toBe("held");

    // As an import may leave it: for the client's transactions a version of 0 means any version.
    const [path = ""] = await recordsOf(client, place.prefix);
    expect(await other.release("k", BOB)).toBe("released");
    const text = (await textOf(client, path)) ?? "";
    await new Promise<void>((resolve) => client.remove(path, -1, () => resolve()));
    await new Promise<void>((resolve) => client.create(path, Buffer.from(text), undefined, () => resolve()));
    const second = session(held(place, async () => void (await grant(other, "k", { owner: BOB }))));
    expect((await acquire(second, "k")).kind).toBe("held");
    expect((await other.inspect("k")).lock?.owner).toBe(BOB);
  });
});

await describeWithServer("zookeeper", "what is stored in ZooKeeper", () => {
  test("a data directory that was wiped is a new memory: quarantined, and another server", async ({
    zooServer,
    session,
  }) => {
    const server = await zooServer();
    const opened = session(backendOn(server));
    await putInService(opened);
    await grant(opened, "k");
    const before = await opened.status();
    await server.restart("lost");
    await eventually("it answers", 5_000, () => opened.status());
    const after = await opened.status();
    expect(after).toMatchObject({ kind: "quarantined", joined: false });
    expect(after.identity.incarnation).not.toBe(before.identity.incarnation);
    expect(after.identity.serverId).not.toBe(before.identity.serverId);
    expect((await acquire(opened, "k")).kind).toBe("quarantined");
  });

  test("two prefixes of one ZooKeeper are one server", async ({ place, zooServer, after }) => {
    const other = await zooServer();
    const backends = [
      backendOn(place),
      backendOn({ port: place.port, prefix: `${place.prefix}-b` }, { name: "the same again" }),
      backendOn(other),
    ];
    const locker = createLocker({ backends });
    after(() => locker.close());
    await expect(locker.acquire("k", { waitMs: 0 })).rejects.toMatchObject({ code: "SAME_BACKEND" });
  });

  test("what is not ours is refused and left alone", async ({ place, session, witness }) => {
    const client = await witness(place);
    const opened = session(backendOn(place));
    await putInService(opened);
    await grant(opened, "k");
    const [path = ""] = await recordsOf(client, place.prefix);
    await write(client, path, "somebody else's");
    await expectFault(acquire(opened, "k"), "BACKEND_WRONG_TYPE", /something else than a lock/);
    await expectFault(opened.release("k", ALICE), "BACKEND_WRONG_TYPE");
    expect(await textOf(client, path)).toBe("somebody else's");
    expect(await opened.list({ prefix: "", cursor: undefined, pageSize: 10 })).toMatchObject({ keys: [] });
    const [seal = ""] = await childrenOf(client, `/${place.prefix}/mark`);
    await removeAll(client, `/${place.prefix}/mark/${seal}`);
    await expectFault(acquire(opened, "other"), "BACKEND_MARK_MISMATCH", /is broken.*is missing/);
    await write(client, `/${place.prefix}/mark`, "somebody else's");
    await expectFault(opened.status(), "BACKEND_MARK_MISMATCH", /another format/);
    expect(await textOf(client, `/${place.prefix}/mark`)).toBe("somebody else's");
  });

  test("counters are deleted when their time is over, and nothing else is", async ({
    place,
    session,
    witness,
  }) => {
    const client = await witness(place);
    const opened = session(backendOn(place));
    await putInService(opened);
    const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
    for (const key of keys) {
      await grant(opened, key);
      await opened.release(key, ALICE);
    }
    const young = session(backendOn(place), { tokenRetentionMs: 100 * DEPLOYMENT.tokenRetentionMs });
    await grant(young, "young");
    const [beside = ""] = await recordsOf(client, place.prefix);
    await new Promise<void>((resolve) =>
      client.create(`${beside}x`, Buffer.from("theirs"), undefined, () => resolve()),
    );
    const template: ZooKeeperLike = createClient(`127.0.0.1:${place.port}`);
    const connection = connect(template, { name: "b", acl: undefined, requestTimeoutMs: 5_000 });
    const store = createZooKeeperStore(connection, { name: "b", prefix: place.prefix });
    const { now } = await store.lookAtMark();
    const everywhere = async (nowMs: number): Promise<void> => {
      for (let i = 0; i < 256; i++) await store.forget?.({ atLeastMs: nowMs, atMostMs: nowMs });
    };
    await everywhere(now.atMostMs);
    expect(await recordsOf(client, place.prefix)).toHaveLength(keys.length + 2);
    await everywhere(now.atMostMs + 2 * DEPLOYMENT.tokenRetentionMs);
    expect(await recordsOf(client, place.prefix)).toHaveLength(2);
    expect((await opened.inspect("young")).counter).toBeGreaterThan(0n);
    await store.close();
  });
});

function make(client: UsersClient, path: string): Promise<void> {
  return new Promise((resolve) => {
    client.create(path, Buffer.alloc(0), undefined, () => resolve());
  });
}

function write(client: UsersClient, path: string, text: string): Promise<void> {
  return new Promise((resolve) => {
    client.setData(path, Buffer.from(text), -1, () => resolve());
  });
}
