/** Transactions of one turn of the event loop, and of a moment in which others are under way, travel together; each fares as it would alone. */
import type { Etcd3 } from "etcd3";
import { expect } from "vitest";
import { etcd, recommendedEtcdOptions } from "../../src/adapters/etcd.js";
import type { AcquireReply, BackendSession } from "../../src/backend.js";
import { expectTurnsAsSingles } from "../conformance/turns.ts";
import { acquire, ALICE, BOB, expectFault, putInService, timed } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { ETCDS, test as etcdTest, TTL_MS } from "./kit.ts";

interface Sent {
  /** Transactions that only read, and others. */
  reads: number;
  writes: number;
  /** Operations in the largest. */
  largest: number;
  refused: number;
}

interface Watched {
  readonly session: BackendSession;
  readonly client: Etcd3;
  readonly sent: Sent;
}

const CALL_MS = 10_000;
const AT_ONCE = 100;

const test = etcdTest.extend<{ watched: (server: RunningServer) => Promise<Watched> }>({
  watched: async ({ client, session }, use) => {
    await use(async (server) => {
      const own = client(server, { ...recommendedEtcdOptions() });
      const opened = session(etcd(own, { callTimeoutMs: CALL_MS }));
      await putInService(opened);
      const sent = { reads: 0, writes: 0, largest: 0, refused: 0 };
      const txn = own.kv.txn.bind(own.kv);
      own.kv.txn = (...args: Parameters<typeof txn>) => {
        const success = args[0].success ?? [];
        if (success.every((each) => "request_range" in each)) sent.reads++;
        else sent.writes++;
        sent.largest = Math.max(sent.largest, success.length);
        return txn(...args).catch((error: unknown) => {
          sent.refused++;
          throw error;
        });
      };
      return { session: opened, client: own, sent };
    });
  },
});

function ask(session: BackendSession, key: string, owner = ALICE): Promise<AcquireReply> {
  return acquire(session, key, { owner, ttlMs: TTL_MS });
}

for (const name of ETCDS) {
  await describeWithServer(name, "transactions of one turn", () => {
    test("travel together, a bounded number in each, and each is answered for itself", async ({
      server,
      watched,
    }) => {
      const { session, sent } = await watched(await server(name));
      const keys = Array.from({ length: AT_ONCE }, (_, i) => `k${i}`);
      const granted = await Promise.all(keys.map((key) => ask(session, key)));
      expect(new Set(granted.map(({ kind }) => kind))).toEqual(new Set(["granted"]));
      expect(sent.reads).toBe(Math.ceil(AT_ONCE / 40));
      expect(sent.writes).toBeLessThan(AT_ONCE / 2);
      expect(sent.largest).toBeLessThanOrEqual(122);
      const mixed = await Promise.all([
        ...keys.slice(0, 10).map((key) => session.release(key, ALICE)),
        ...keys.slice(10, 20).map((key) => session.release(key, BOB)),
        ...keys.slice(20, 30).map(async (key) => (await ask(session, key, BOB)).kind),
        ...keys.slice(0, 10).map(async (key) => (await ask(session, `new:${key}`)).kind),
      ]);
      const ten = (word: string): string[] => Array.from({ length: 10 }, () => word);
      expect(mixed).toEqual([...ten("released"), ...ten("not-owner"), ...ten("held"), ...ten("granted")]);
      expect((await session.inspect("k0")).lock).toBeUndefined();
      expect((await session.inspect("k10")).lock?.owner).toBe(ALICE);
    });

    test("random turns are answered as their operations one behind the other", async ({
      server,
      inService,
    }) => {
      const session = await inService(await server(name), { callTimeoutMs: CALL_MS });
      await expectTurnsAsSingles(session, { seconds: 6, isFirstServed: false });
    });

    test("two sessions on the same keys in opposite orders: each key to one of them", async ({
      server,
      watched,
    }) => {
      const running = await server(name);
      const [one, other] = [await watched(running), await watched(running)];
      for (let round = 0; round < 5; round++) {
        const keys = Array.from({ length: 30 }, (_, i) => `${round}:${i}`);
        const [forth, back] = await Promise.all([
          Promise.all(keys.map(async (key) => (await ask(one.session, key)).kind)),
          Promise.all(keys.toReversed().map(async (key) => (await ask(other.session, key, BOB)).kind)),
        ]);
        for (const [i, kind] of forth.entries()) {
          expect([kind, back.at(-1 - i)].toSorted()).toEqual(["granted", "held"]);
        }
      }
      const owners = Array.from({ length: 64 }, (_, i) => i.toString(16).padStart(32, "0"));
      const kinds = await Promise.all(
        owners.map(async (owner) => (await ask(one.session, "one", owner)).kind),
      );
      expect(kinds.filter((kind) => kind === "granted")).toHaveLength(1);
      expect([one.sent.refused, other.sent.refused], "a key is written once in a transaction").toEqual([
        0, 0,
      ]);
    });

    test("fail each for itself: what somebody else wrote, a counter that is none, and what etcd refuses to write", async ({
      server,
      watched,
    }) => {
      const { session, client } = await watched(await server(name));
      await ask(session, "mine");
      await client.put("ql/l/foreign").value("hello");
      await client.put("ql/f/counter").value("many");
      const { txn } = client.kv;
      let together = 0;
      const poisonous = String(Array.from(Buffer.from("ql/l/poison")));
      client.kv.txn = (...args: Parameters<typeof txn>) => {
        // As an etcd answers whose role may not write some keys: none of it is done.
        if (JSON.stringify(args[0]).includes(poisonous) && isWrite(args[0])) {
          if (JSON.stringify(args[0]).includes('"request_txn"')) together++;
          return Promise.reject(new Error("etcdserver: permission denied"));
        }
        return Reflect.apply(txn, client.kv, args) as ReturnType<typeof txn>;
      };
      const others = Array.from({ length: 40 }, (_, i) => ask(session, `k${i}`));
      const [foreign, counter] = ["foreign", "counter"].map((key) => ask(session, key));
      const poisons = Array.from({ length: 20 }, (_, i) => ask(session, `poison${i}`));
      const more = Array.from({ length: 40 }, (_, i) => ask(session, `more${i}`));
      const released = session.release("mine", ALICE);
      await Promise.all([
        expectFault(foreign as Promise<unknown>, "BACKEND_WRONG_TYPE"),
        expectFault(counter as Promise<unknown>, "BACKEND_WRONG_TYPE"),
        ...poisons.map((each) => expectFault(each, "BACKEND_NO_PERMISSION")),
      ]);
      const kinds = (await Promise.all([...others, ...more])).map(({ kind }) => kind);
      expect(new Set([...kinds, await released])).toEqual(new Set(["granted", "released"]));
      expect(together, "those that were refused together").toBeGreaterThan(0);
    });

    test("fail each for itself: what somebody else wrote is more than one answer may be", async ({
      server,
      watched,
    }) => {
      const { session, client } = await watched(await server(name));
      const large = ["one", "two", "three", "four"];
      for (const key of large) await client.put(`ql/l/${key}`).value(Buffer.alloc(1_200_000, "x"));
      const foreign = large.map((key) => ask(session, key));
      const others = Array.from({ length: 20 }, (_, i) => ask(session, `k${i}`));
      await Promise.all(foreign.map((each) => expectFault(each, "BACKEND_WRONG_TYPE")));
      const kinds = (await Promise.all(others)).map(({ kind }) => kind);
      expect(new Set(kinds)).toEqual(new Set(["granted"]));
    });

    test("an etcd that takes fewer operations in a transaction gets one at a time", async ({
      server,
      watched,
    }) => {
      const { session, sent } = await watched(await server(name, { args: ["--max-txn-ops", "12"] }));
      for (let round = 0; round < 2; round++) {
        sent.largest = 0;
        const replies = await Promise.all(
          Array.from({ length: 20 }, (_, i) => ask(session, `${round}:${i}`)),
        );
        expect(new Set(replies.map(({ kind }) => kind))).toEqual(new Set(["granted"]));
      }
      expect(sent.largest, "from the second turn on").toBeLessThanOrEqual(12);
    });

    test("a server that hangs: all that is asked for meanwhile fails in the time of a few calls, however much it is", async ({
      server,
      inService,
    }) => {
      const running = await server(name);
      const session = await inService(running);
      await running.freeze();
      const asked = Array.from({ length: 1_000 }, (_, i) => timed(session.inspect(`k${i}`)));
      for (const { error, ms } of await Promise.all(asked)) {
        expect(error).toMatchObject({
          code: expect.stringMatching(/^BACKEND_(SILENT|NOT_CONNECTED|TIMEOUT)$/) as unknown,
        });
        expect(ms).toBeLessThan(3_000);
      }
    });

    test("a server that dies in the middle of it: each gets its fault, none hangs", async ({
      server,
      inService,
    }) => {
      const running = await server(name);
      const session = await inService(running);
      await ask(session, "mine");
      await running.freeze();
      const asked = Array.from({ length: 200 }, (_, i) => timed(ask(session, `k${i}`)));
      const released = timed(session.release("mine", ALICE));
      await new Promise((resolve) => setImmediate(resolve));
      await running.kill();
      for (const { error, ms } of await Promise.all([...asked, released])) {
        expect(error).toMatchObject({
          code: expect.stringMatching(/^BACKEND_(DISCONNECTED|NOT_CONNECTED|TIMEOUT)$/) as unknown,
        });
        expect(ms).toBeLessThan(3_000);
      }
    });
  });
}

/** Whether anything in it is written. */
function isWrite(request: unknown): boolean {
  return /"request_(put|delete_range)"/.test(JSON.stringify(request));
}
