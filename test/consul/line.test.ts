/** Those who wait for a lock in a real Consul are called when it is free. */
import { afterAll, beforeAll } from "vitest";
import { freshName } from "../servers/adapter-conformance.ts";
import { itHandsOver } from "../servers/hand-over.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startConsul } from "../servers/start-consul.ts";
import { backendOn } from "./kit.ts";

await describeWithServer("consul", "waiting for a lock in Consul", () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startConsul();
  });
  afterAll(() => server.stop());

  itHandsOver("Consul", async () => {
    const prefix = freshName();
    return {
      port: server.port,
      backend: (port) => backendOn({ port, prefix }),
      // It has no client.
      close: async () => undefined,
    };
  });
});
