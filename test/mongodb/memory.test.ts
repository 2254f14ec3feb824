/** What a MongoDB that loses or changes its memory in the middle of a request may not do, and what stays stored. */
import { expect } from "vitest";
import { mongodb } from "../../src/adapters/mongodb.js";
import { createMongoStore } from "../../src/adapters/mongodb/store.js";
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
import { backendOn, heldUp, test, type Document } from "./kit.ts";

const SLOW = { requestTimeoutMs: 20_000 };

await describeWithServer("mongodb", "between the look and the write of a request", () => {
  for (const known of [false, true]) {
    const key = known ? "a key that has a document" : "a new key";

    test(`a wipe: not granted, not made anew, for ${key}`, async ({ place, client, session }) => {
      const theirs = client(place);
      const other = session(backendOn(theirs, place));
      await putInService(other);
      if (known) await prepare(other);
      const wiping = (): BackendSession => {
        const wipe = async (): Promise<void> => {
          await theirs.db(place.database).dropDatabase();
          await other.status();
        };
        return session(backendOn(heldUp(theirs, wipe), place, SLOW));
      };
      expect((await acquire(wiping(), "k")).kind).toBe("quarantined");
      expect((await other.inspect("k")).lock).toBeUndefined();
      await other.bootstrap((await other.status()).identity.incarnation);
      if (known) await prepare(other);
      expect((await heal(wiping())).kind).toBe("quarantined");
      expect((await other.inspect("k")).lock).toBeUndefined();
    });

    test(`a quarantine by hand: not granted, not made anew, for ${key}`, async ({
      place,
      client,
      session,
    }) => {
      const theirs = client(place);
      const other = session(backendOn(theirs, place));
      await putInService(other);
      if (known) await prepare(other);
      const quarantining = (): BackendSession => {
        const begin = async (): Promise<void> => void (await other.quarantine());
        return session(backendOn(heldUp(theirs, begin), place, SLOW));
      };
      expect((await acquire(quarantining(), "k")).kind).toBe("quarantined");
      await other.bootstrap((await other.status()).identity.incarnation);
      expect((await heal(quarantining())).kind).toBe("quarantined");
      expect((await other.inspect("k")).lock).toBeUndefined();
      // And the same behind it, when the request is told apart by its generation only.
      await other.bootstrap((await other.status()).identity.incarnation);
      await grant(other, "k");
    });
  }

  test("a wipe in which somebody else has begun the same key: not granted", async ({
    place,
    client,
    session,
  }) => {
    const theirs = client(place);
    const other = session(backendOn(theirs, place));
    await putInService(other);
    await prepare(other);
    const wiping = heldUp(theirs, async () => {
      await theirs.db(place.database).dropDatabase();
      await putInService(other);
      await prepare(other);
      await other.quarantine();
    });
    expect((await acquire(session(backendOn(wiping, place, SLOW)), "k")).kind).toBe("quarantined");
    expect((await other.inspect("k")).lock).toBeUndefined();
  });

  test("a wipe before the write of a release: nothing of the new memory is released", async ({
    place,
    client,
    session,
  }) => {
    const theirs = client(place);
    const other = session(backendOn(theirs, place));
    await putInService(other);
    await grant(other, "k");
    const wiping = heldUp(theirs, async () => {
      await theirs.db(place.database).dropDatabase();
      await putInService(other);
      await grant(other, "k", { owner: BOB });
    });
    expect(await session(backendOn(wiping, place, SLOW)).release("k", ALICE)).toBe("not-owner");
    expect((await other.inspect("k")).lock?.owner).toBe(BOB);
  });

  test("another's grant: held", async ({ place, client, session }) => {
    const theirs = client(place);
    const other = session(backendOn(theirs, place));
    await putInService(other);
    const late = heldUp(theirs, async () => void (await grant(other, "k", { owner: BOB })));
    expect((await acquire(session(backendOn(late, place, SLOW)), "k")).kind).toBe("held");
  });
});

/** The key has a document afterwards, and no lock. */
async function prepare(session: BackendSession): Promise<void> {
  await grant(session, "k");
  await session.release("k", ALICE);
}

function heal(session: BackendSession): ReturnType<BackendSession["extend"]> {
  return session.extend({ key: "k", owner: ALICE, ttlMs: 1_500, token: proposal(), mayHeal: true });
}

await describeWithServer("mongodb", "what is stored in MongoDB", () => {
  test("a data directory that was wiped is a new memory: quarantined", async ({
    mongoServer,
    client,
    session,
  }) => {
    const server = await mongoServer();
    const opened = session(backendOn(client(server)));
    await putInService(opened);
    await grant(opened, "k");
    const before = await opened.status();
    await server.restart("lost");
    await eventually("it answers", 5_000, () => opened.status());
    const after = await opened.status();
    expect(after).toMatchObject({ kind: "quarantined", joined: false });
    expect(after.identity.incarnation).not.toBe(before.identity.incarnation);
    expect((await acquire(opened, "k")).kind).toBe("quarantined");
  });

  test("two databases of one MongoDB are one server", async ({ place, mongoServer, client, after }) => {
    const other = await mongoServer();
    const backends = [
      mongodb(client(place), { database: `${place.database}-a` }),
      mongodb(client(place), { database: `${place.database}-b`, name: "the same again" }),
      mongodb(client(other)),
    ];
    const locker = createLocker({ backends });
    after(() => locker.close());
    await expect(locker.acquire("k", { waitMs: 0 })).rejects.toMatchObject({ code: "SAME_BACKEND" });
  });

  test("what is not ours is refused and left alone", async ({ place, client, session }) => {
    const theirs = client(place);
    const locks = theirs.db(place.database).collection<Document>("locks");
    const opened = session(backendOn(theirs, place));
    await putInService(opened);
    const foreign = { _id: "k", text: "somebody else's", forgetAt: new Date(0) };
    await locks.insertOne(foreign);
    await expectFault(acquire(opened, "k"), "BACKEND_WRONG_TYPE", /something else than a lock/);
    await expectFault(opened.release("k", ALICE), "BACKEND_WRONG_TYPE");
    expect(await opened.list({ prefix: "", cursor: undefined, pageSize: 10 })).toMatchObject({ keys: [] });
    const store = createMongoStore(theirs, {
      name: "b",
      database: place.database,
      collection: "locks",
      requestTimeoutMs: 5_000,
    });
    await store.forget?.({ atLeastMs: Date.now(), atMostMs: Date.now() });
    expect(await locks.findOne({ _id: "k" })).toEqual(foreign);
    await locks.updateOne({ _id: { ql: "mark" } }, { $set: { text: "somebody else's" } });
    await expectFault(opened.status(), "BACKEND_MARK_MISMATCH", /another format.*somebody else's/);
    expect(await locks.findOne({ _id: { ql: "mark" } })).toMatchObject({ text: "somebody else's" });
  });

  test("counters are deleted when their time is over, and nothing else is", async ({
    place,
    client,
    session,
  }) => {
    const theirs = client(place);
    const locks = theirs.db(place.database).collection<Document>("locks");
    const opened = session(backendOn(theirs, place));
    await putInService(opened);
    const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
    for (const key of keys) {
      await grant(opened, key);
      await opened.release(key, ALICE);
    }
    const young = session(backendOn(theirs, place), { tokenRetentionMs: 100 * DEPLOYMENT.tokenRetentionMs });
    await grant(young, "young");
    const store = createMongoStore(theirs, {
      name: "b",
      database: place.database,
      collection: "locks",
      requestTimeoutMs: 5_000,
    });
    const { now } = await store.lookAtMark();
    await store.forget?.(now);
    expect(await locks.countDocuments()).toBe(keys.length + 2);
    const later = now.atMostMs + 2 * DEPLOYMENT.tokenRetentionMs;
    await store.forget?.({ atLeastMs: later, atMostMs: later });
    expect(await locks.countDocuments()).toBe(2);
    expect((await opened.inspect("young")).counter).toBeGreaterThan(0n);
  });

  test("the server may delete what is past by itself, and no lock is past before its end", async ({
    place,
    client,
    session,
  }) => {
    const theirs = client(place);
    const locks = theirs.db(place.database).collection<Document>("locks");
    const opened = session(backendOn(theirs, place), { tokenRetentionMs: 1 });
    await putInService(opened);
    expect(await locks.indexes()).toContainEqual(
      expect.objectContaining({ key: { forgetAt: 1 }, expireAfterSeconds: 0 }),
    );
    const beforeMs = Date.now();
    await grant(opened, "k", { ttlMs: 60_000 });
    const stored = await locks.findOne({ _id: "k" });
    expect(stored?.forgetAt?.getTime()).toBeGreaterThanOrEqual(beforeMs + 60_000 - 1_000);
    expect(await locks.findOne({ _id: { ql: "mark" } })).not.toHaveProperty("forgetAt");
  });
});
