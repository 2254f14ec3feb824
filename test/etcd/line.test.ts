/** Those who wait for a lock in a real etcd are called when it is free. */
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll } from "vitest";
import { etcd } from "../../src/adapters/etcd.js";
import { freshName } from "../servers/adapter-conformance.ts";
import { itHandsOver } from "../servers/hand-over.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startEtcd } from "../servers/start-etcd.ts";
import { ETCDS } from "./kit.ts";

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
  });
}
