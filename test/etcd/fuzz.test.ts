/** The conformance fuzz on a real etcd, in real time. Its leases end in whole seconds: many sequences at once. */
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll } from "vitest";
import { etcd, recommendedEtcdOptions } from "../../src/adapters/etcd.js";
import { describeFuzz } from "../conformance/fuzz.ts";
import { freshName, placeContext } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startEtcd } from "../servers/start-etcd.ts";

/** A server or a client that is not scheduled for a moment. */
const TOLERANCE_MS = 100;
/** A busy machine; what a bound is worth is measured elsewhere. */
const CALL_TIMEOUT_MS = 10_000;

await describeWithServer("etcd-3.5", "side by side with the memory adapter", (name) => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startEtcd(name as "etcd-3.5");
  });
  afterAll(() => server.stop());
  describeFuzz(
    "etcd",
    () => {
      const client = new Etcd3({ hosts: `http://127.0.0.1:${server.port}`, ...recommendedEtcdOptions() });
      const backend = etcd(client, { prefix: freshName(), callTimeoutMs: CALL_TIMEOUT_MS });
      const place = { backend, restart: {}, close: async () => client.close() };
      const { context, close } = placeContext(place, TOLERANCE_MS);
      // It has no clock to move them by.
      return { context: { ...context, clampsProposals: false }, close };
    },
    { seconds: 12, lanes: 10, ttlMs: 1_000 },
  );
});
