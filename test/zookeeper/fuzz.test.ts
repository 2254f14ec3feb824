/** The conformance fuzz on a real ZooKeeper, in real time. */
import { afterAll, beforeAll } from "vitest";
import { describeFuzz } from "../conformance/fuzz.ts";
import { freshName, placeContext } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startZookeeper } from "../servers/start-zookeeper.ts";
import { backendOn } from "./kit.ts";

/** A server or a client that is not scheduled for a moment. */
const TOLERANCE_MS = 100;
/** A busy machine; what a bound is worth is measured elsewhere. */
const REQUEST_TIMEOUT_MS = 10_000;

await describeWithServer("zookeeper", "side by side with the memory adapter", () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startZookeeper();
  });
  afterAll(() => server.stop());
  describeFuzz("ZooKeeper", () => {
    const at = { port: server.port, prefix: freshName() };
    const backend = backendOn(at, { requestTimeoutMs: REQUEST_TIMEOUT_MS });
    return placeContext({ backend, restart: {}, close: async () => undefined }, TOLERANCE_MS);
  });
});
