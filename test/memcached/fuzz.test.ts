/** The conformance fuzz on a real memcached, in real time. Its items end in whole seconds: many sequences at once. */
import { Client } from "memjs";
import { afterAll, beforeAll } from "vitest";
import { memcached } from "../../src/adapters/memcached.js";
import { describeFuzz } from "../conformance/fuzz.ts";
import { freshName, placeContext } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startMemcached } from "../servers/start-memcached.ts";

/** A server or a client that is not scheduled for a moment. */
const TOLERANCE_MS = 100;

await describeWithServer("memcached-1.6.38", "side by side with the memory adapter", (name) => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startMemcached(name as "memcached-1.6.38");
  });
  afterAll(() => server.stop());
  describeFuzz(
    "memcached",
    () => {
      const client = Client.create(`127.0.0.1:${server.port}`);
      const backend = memcached(client, { prefix: freshName() });
      return placeContext({ backend, restart: {}, close: async () => client.close() }, TOLERANCE_MS);
    },
    { seconds: 12, lanes: 16, ttlMs: 1_000 },
  );
});
