/** Those who wait for a lock in a real etcd are called when it is free. */
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll, expect } from "vitest";
import { etcd } from "../../src/adapters/etcd.js";
import { acquire, ALICE, BOB, eventually, grant, proposal } from "../redis/kit.ts";
import { freshName } from "../servers/adapter-conformance.ts";
import { itHandsOver } from "../servers/hand-over.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startEtcd } from "../servers/start-etcd.ts";
import { ETCDS, keysOf, test, TTL_MS } from "./kit.ts";

/** How many watches the server has, by its own figures. */
async function watchers({ port }: { readonly port: number }): Promise<number> {
  const figures = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^etcd_debugging_mvcc_watcher_total (\d+)$/m.exec(figures)?.[1]);
}

for (const name of ETCDS) {
  await describeWithServer(name, "waiting for a lock in etcd", () => {
    let server: RunningServer;
    beforeAll(async () => {
      server = await startEtcd(name);
    });
    afterAll(() => server.stop());

    itHandsOver(name, async () => {
      const clients: Etcd3[] = [];
      const prefix = freshName();
      return {
        port: server.port,
        backend(port) {
          const client = new Etcd3({ hosts: `http://127.0.0.1:${port}` });
          clients.push(client);
          return etcd(client, { prefix });
        },
        async close() {
          for (const client of clients) client.close();
        },
      };
    });

    test("a reservation that nobody takes ends by itself, also for those who never saw it, and leaves nothing", async ({
      inService,
      client,
      session,
    }) => {
      const prefix = freshName();
      const line = `${prefix}/w/k`;
      const holder = await inService(server, { prefix });
      await grant(holder, "k", { ttlMs: TTL_MS });
      const waiter = session(etcd(client(server), { prefix }));
      waiter.watch?.(() => undefined);
      const ticket = { id: "1", since: 1n, waitsMs: 60_000 };
      const waits = { key: "k", owner: BOB, ttlMs: TTL_MS, proposal: proposal(), ticket };
      expect((await waiter.acquire(waits)).kind).toBe("held");
      expect(await keysOf(server, line)).toEqual([line]);
      await waiter.close();
      await holder.release("k", ALICE);
      const stranger = session(etcd(client(server), { prefix }));
      await eventually("it is gone", 6_000, async () => (await keysOf(server, line)).length === 0);
      expect((await acquire(stranger, "k", { ttlMs: TTL_MS })).kind).toBe("granted");
    });

    test("who leaves takes the line along, and the watch", async ({ inService }) => {
      const prefix = freshName();
      const session = await inService(server, { prefix });
      await grant(session, "k", { ttlMs: TTL_MS });
      session.watch?.(() => undefined);
      const ticket = { id: "1", since: 1n, waitsMs: 60_000 };
      const waits = { key: "k", owner: BOB, ttlMs: TTL_MS, proposal: proposal(), ticket };
      const before = await watchers(server);
      await session.acquire(waits);
      await eventually("it is watched", 5_000, async () => (await watchers(server)) === before + 1);
      await session.leave?.("k", "1");
      expect(await keysOf(server, `${prefix}/w/k`)).toEqual([]);
      await eventually("it is watched no more", 5_000, async () => (await watchers(server)) === before);
    });
  });
}
