/** Those who wait for a lock in a real ZooKeeper are called when it is free. */
import { afterAll, beforeAll } from "vitest";
import { freshName } from "../servers/adapter-conformance.ts";
import { itHandsOver } from "../servers/hand-over.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startZookeeper } from "../servers/start-zookeeper.ts";
import { backendOn } from "./kit.ts";

await describeWithServer("zookeeper", "waiting for a lock in ZooKeeper", () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startZookeeper();
  });
  afterAll(() => server.stop());

  itHandsOver("ZooKeeper", async () => {
    const prefix = freshName();
    return {
      port: server.port,
      backend: (port) => backendOn({ port, prefix }),
      // The adapter's own clients are closed with the lockers.
      close: async () => undefined,
    };
  });
});
