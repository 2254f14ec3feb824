/** What a Consul that loses or changes its memory in the middle of a request may not do, and what stays stored. */
import { expect } from "vitest";
import { createAgent } from "../../src/adapters/consul/agent.js";
import { createConsulStore } from "../../src/adapters/consul/store.js";
import type { Backend } from "../../src/backend.js";
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
import { addressOf, ask, backendOn, heldUp, keysOn, test } from "./kit.ts";

await describeWithServer("consul", "between the look and the write of a request", () => {
  test("a wipe of all data: not granted", async ({ consulServer, session }) => {
    const server = await consulServer();
    const witness = session(backendOn(server));
    await putInService(witness);
    const fetch = heldUp(async () => {
      await server.restart("lost");
      await eventually("it answers", 5_000, () => witness.status());
    });
    const late = session(backendOn(server, { fetch, requestTimeoutMs: 20_000 }));
    expect((await acquire(late, "k")).kind).toBe("quarantined");
    expect((await witness.inspect("k")).lock).toBeUndefined();
  });

  test("a quarantine by hand: not granted, not extended anew", async ({ place, session }) => {
    const witness = session(backendOn(place));
    await putInService(witness);
    const quarantining = (): Backend =>
      backendOn(place, { fetch: heldUp(async () => void (await witness.quarantine())) });
    expect((await acquire(session(quarantining()), "k")).kind).toBe("quarantined");
    await bootstrap(witness);
    const healing = { key: "k", owner: ALICE, ttlMs: 1_500, token: proposal(), mayHeal: true };
    expect((await session(quarantining()).extend(healing)).kind).toBe("quarantined");
    expect((await witness.inspect("k")).lock).toBeUndefined();
  });

  test("the mark deleted by hand and another one written: not granted", async ({ place, session }) => {
    const witness = session(backendOn(place));
    await putInService(witness);
    // Only the mark, while what belongs to it stays.
    const fetch = heldUp(async () => {
      await ask(place, "DELETE", `/v1/kv/${place.prefix}/mark`);
      await witness.status();
    });
    expect((await acquire(session(backendOn(place, { fetch })), "k")).kind).toBe("quarantined");
    expect(await keysOn(place, `${place.prefix}/mark/`), "one seal").toHaveLength(1);
  });

  test("another's grant: held", async ({ place, session }) => {
    const witness = session(backendOn(place));
    await putInService(witness);
    const fetch = heldUp(async () => void (await grant(witness, "k", { owner: BOB })));
    expect((await acquire(session(backendOn(place, { fetch })), "k")).kind).toBe("held");
  });

  test("a quarantine by hand does not stop a release", async ({ place, session }) => {
    const witness = session(backendOn(place));
    await putInService(witness);
    await grant(witness, "k");
    const fetch = heldUp(async () => void (await witness.quarantine()));
    expect(await session(backendOn(place, { fetch })).release("k", ALICE)).toBe("released");
    expect((await witness.inspect("k")).lock).toBeUndefined();
  });
});

async function bootstrap(session: Parameters<typeof putInService>[0]): Promise<void> {
  const status = await session.status();
  await session.bootstrap(status.identity.incarnation);
}

await describeWithServer("consul", "what is stored in Consul", () => {
  test("a data directory that was wiped is a new memory: quarantined, and another server", async ({
    consulServer,
    session,
  }) => {
    const server = await consulServer();
    const opened = session(backendOn(server));
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

  test("two prefixes of one Consul are one server", async ({ consulServer, after }) => {
    const server = await consulServer();
    const other = await consulServer();
    const backends = [
      backendOn(server, { prefix: "a" }),
      backendOn(server, { prefix: "b", name: "the same again" }),
      backendOn(other, { prefix: "a" }),
    ];
    const locker = createLocker({ backends });
    after(() => locker.close());
    await expect(locker.acquire("k", { waitMs: 0 })).rejects.toMatchObject({ code: "SAME_BACKEND" });
  });

  test("what is not ours is refused and left alone", async ({ place, session }) => {
    const opened = session(backendOn(place));
    await putInService(opened);
    await grant(opened, "k");
    const [record = ""] = await keysOn(place, `${place.prefix}/keys/`);
    await ask(place, "PUT", `/v1/kv/${record}`, { body: "somebody else's" });
    await expectFault(acquire(opened, "k"), "BACKEND_WRONG_TYPE", /something else than a lock/);
    await expectFault(opened.release("k", ALICE), "BACKEND_WRONG_TYPE");
    expect((await ask(place, "GET", `/v1/kv/${record}?raw`)).text).toBe("somebody else's");
    expect(await opened.list({ prefix: "", cursor: undefined, pageSize: 10 })).toMatchObject({ keys: [] });
    const [seal = ""] = await keysOn(place, `${place.prefix}/mark/`);
    await ask(place, "DELETE", `/v1/kv/${seal}`);
    await expectFault(opened.status(), "BACKEND_MARK_MISMATCH", /is broken.*is missing/);
    await ask(place, "PUT", "/v1/kv/other/mark", { body: "somebody else's" });
    await ask(place, "PUT", "/v1/kv/other/mark/x", { body: "" });
    const foreign = session(backendOn(place, { prefix: "other" }));
    await expectFault(foreign.status(), "BACKEND_MARK_MISMATCH");
    expect((await ask(place, "GET", "/v1/kv/other/mark?raw")).text).toBe("somebody else's");
  });

  test("counters are deleted when their time is over, and nothing else is", async ({ place, session }) => {
    const opened = session(backendOn(place));
    await putInService(opened);
    const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
    for (const key of keys) {
      await grant(opened, key);
      await opened.release(key, ALICE);
    }
    const young = session(backendOn(place), { tokenRetentionMs: 100 * DEPLOYMENT.tokenRetentionMs });
    await grant(young, "young");
    const [foreign = ""] = (await keysOn(place, `${place.prefix}/keys/`)).slice(0, 1);
    await ask(place, "PUT", `/v1/kv/${foreign}x`, { body: "somebody else's" });
    const store = createConsulStore(agentOf(place), { name: "b", prefix: place.prefix });
    const { now } = await store.lookAtMark();
    const everywhere = async (nowMs: number): Promise<void> => {
      for (let i = 0; i < 256; i++) await store.forget?.({ atLeastMs: nowMs, atMostMs: nowMs });
    };
    await everywhere(now.atMostMs);
    expect(await keysOn(place, `${place.prefix}/keys/`)).toHaveLength(keys.length + 2);
    await everywhere(now.atMostMs + 2 * DEPLOYMENT.tokenRetentionMs);
    expect(await keysOn(place, `${place.prefix}/keys/`)).toHaveLength(2);
    expect((await opened.inspect("young")).counter).toBeGreaterThan(0n);
    await store.close();
  });

  test("the application's own keys beside it are not touched, nor seen", async ({ place, session }) => {
    const theirs = ["app/config", `${place.prefix}-app`, `${place.prefix}/markers`];
    for (const path of theirs) {
      await ask(place, "PUT", `/v1/kv/${path}`, { body: "mine" });
    }
    const opened = session(backendOn(place));
    await putInService(opened);
    const busy = Array.from({ length: 50 }, (_, i) => ask(place, "PUT", `/v1/kv/app/${i}`, { body: "x" }));
    const kinds = await Promise.all(Array.from({ length: 50 }, (_, i) => acquire(opened, `k${i}`)));
    await Promise.all(busy);
    expect(new Set(kinds.map(({ kind }) => kind))).toEqual(new Set(["granted"]));
    await opened.quarantine();
    for (const path of theirs) {
      expect((await ask(place, "GET", `/v1/kv/${path}?raw`)).text).toBe("mine");
    }
  });
});

function agentOf(server: { readonly port: number }): ReturnType<typeof createAgent> {
  const url = new URL(addressOf(server));
  return createAgent({ name: "b", url, token: undefined, requestTimeoutMs: 2_000, fetch });
}
