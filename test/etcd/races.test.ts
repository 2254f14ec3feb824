/** What happens between a look and the write that relies on it: the transaction compares everything that was seen. */
import type { Etcd3 } from "etcd3";
import { expect } from "vitest";
import { etcd, recommendedEtcdOptions } from "../../src/adapters/etcd.js";
import { acquire, ALICE, BOB, eventually, grant, proposal, putInService } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { keysOf, leasesOf, test, TTL_MS } from "./kit.ts";

const MORE = { ttlMs: TTL_MS };

/** Does something before the next transaction that writes, once. */
function beforeNextWrite(client: Etcd3, meanwhile: () => Promise<unknown>): void {
  const txn = client.kv.txn.bind(client.kv);
  client.kv.txn = async (...args: Parameters<typeof txn>) => {
    if (args[0].compare !== undefined) {
      client.kv.txn = txn;
      await meanwhile();
    }
    return txn(...args);
  };
}

await describeWithServer("etcd-3.5", "between a look and its write", () => {
  test("another is granted the lock: held", async ({ server, client, session, inService }) => {
    const running = await server("etcd-3.5");
    const other = await inService(running);
    const own = client(running, recommendedEtcdOptions());
    const opened = session(etcd(own));
    await opened.status();
    beforeNextWrite(own, () => grant(other, "k", { ...MORE, owner: BOB }));
    expect((await acquire(opened, "k", MORE)).kind).toBe("held");
    expect((await other.inspect("k")).lock?.owner).toBe(BOB);
  });

  test("a quarantine begins: nothing is granted", async ({ server, client, session, inService }) => {
    const running = await server("etcd-3.5");
    const other = await inService(running);
    const own = client(running, recommendedEtcdOptions());
    const opened = session(etcd(own));
    await opened.status();
    beforeNextWrite(own, () => other.quarantine());
    expect((await acquire(opened, "k", MORE)).kind).toBe("quarantined");
    expect(await keysOf(running, "ql/l/")).toEqual([]);
  });

  test("everything of the prefix is deleted: another memory, in which nothing is granted", async ({
    server,
    client,
    session,
    inService,
  }) => {
    const running = await server("etcd-3.5");
    await inService(running);
    const own = client(running, recommendedEtcdOptions());
    const opened = session(etcd(own));
    await opened.status();
    beforeNextWrite(own, () => client(running).delete().prefix("ql/").exec());
    expect((await acquire(opened, "k", MORE)).kind).toBe("quarantined");
    expect(await keysOf(running, "ql/l/")).toEqual([]);
  });

  test("the owner's longer extension is not shortened by a shorter one that looked before", async ({
    server,
    client,
    session,
    inService,
  }) => {
    const running = await server("etcd-3.5");
    const other = await inService(running);
    const token = await grant(other, "k", { ttlMs: 2_000 });
    const own = client(running, recommendedEtcdOptions());
    const opened = session(etcd(own));
    await opened.status();
    const extend = { key: "k", owner: ALICE, token, mayHeal: false };
    beforeNextWrite(own, () => other.extend({ ...extend, ttlMs: 9_000 }));
    expect((await opened.extend({ ...extend, ttlMs: 4_000 })).kind).toBe("extended");
    expect((await opened.inspect("k")).lock?.remainingMs).toBeGreaterThan(5_000);
    await eventually(
      "leases that nothing hangs on are given up",
      1_000,
      async () => (await leasesOf(running)) <= 3,
    );
  });

  test("the lease for counters ended while nobody used it: another one is made, and the lock is granted", async ({
    server,
    client,
    session,
    inService,
  }) => {
    const running = await server("etcd-3.5");
    await inService(running);
    const own = client(running, recommendedEtcdOptions());
    const opened = session(etcd(own));
    await grant(opened, "a", MORE);
    await opened.release("a", ALICE);
    const looking = client(running);
    await eventually("the lease of the lock is given up", 1_000, async () => (await leasesOf(running)) === 1);
    for (const { ID } of (await looking.leaseClient.leaseLeases()).leases) {
      await looking.leaseClient.leaseRevoke({ ID });
    }
    expect(await keysOf(running, "ql/f/")).toEqual([]);
    const fence = proposal();
    const reply = await opened.acquire({ key: "b", owner: ALICE, ttlMs: TTL_MS, proposal: fence });
    expect(reply).toMatchObject({ kind: "granted", fence });
    expect(await keysOf(running, "ql/f/")).toEqual(["ql/f/b"]);
  });

  test("a mark that was deleted while its quarantine goes on is written anew", async ({
    server,
    client,
    session,
  }) => {
    const running = await server("etcd-3.5");
    const opened = session(etcd(client(running)));
    expect((await opened.status()).kind).toBe("quarantined");
    await client(running).delete().key("ql/mark");
    expect((await opened.status()).kind).toBe("quarantined");
    await putInService(opened);
    await grant(opened, "k", MORE);
  });

  test("what somebody else wrote under a key of the lock is refused and left alone", async ({
    server,
    client,
    inService,
  }) => {
    const running = await server("etcd-3.5");
    const opened = await inService(running);
    const theirs = client(running);
    for (const key of ["ql/l/theirs", "ql/f/theirs too"]) await theirs.put(key).value("somebody else's");
    for (const key of ["theirs", "theirs too"]) {
      await expect(acquire(opened, key, MORE)).rejects.toMatchObject({ code: "BACKEND_WRONG_TYPE" });
    }
    expect(await theirs.get("ql/l/theirs").string()).toBe("somebody else's");
    expect(await theirs.get("ql/f/theirs too").string()).toBe("somebody else's");
  });

  test("a join does not shorten a quarantine, however often", async ({ server, client, session }) => {
    const running = await server("etcd-3.5");
    const opened = session(etcd(client(running)), { quarantineMs: 4_000 });
    const from = performance.now();
    const { identity } = await opened.status();
    const leases = await leasesOf(running);
    for (let i = 0; i < 10; i++) await opened.join(identity.incarnation);
    expect(await leasesOf(running), "its lease goes on").toBe(leases);
    await eventually("the quarantine ends", 8_000, async () => (await opened.status()).kind === "in-service");
    expect(performance.now() - from).toBeGreaterThan(4_000);
  });
});
