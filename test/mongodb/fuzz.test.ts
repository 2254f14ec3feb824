/** The conformance fuzz on a MongoDB, in real time: the product where there is one, else what stands in for it. */
import { MongoClient } from "mongodb";
import { afterAll, beforeAll } from "vitest";
import { describeFuzz } from "../conformance/fuzz.ts";
import { freshName, placeContext } from "../servers/adapter-conformance.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startMongodb } from "../servers/start-mongodb.ts";
import { backendOn } from "./kit.ts";

/** A server or a client that is not scheduled for a moment. */
const TOLERANCE_MS = 100;
/** A busy machine; what a bound is worth is measured elsewhere. */
const REQUEST_TIMEOUT_MS = 10_000;

await describeWithServer("mongodb", "side by side with the memory adapter", () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startMongodb();
  });
  afterAll(() => server.stop());
  describeFuzz("MongoDB", () => {
    const client = new MongoClient(`mongodb://127.0.0.1:${server.port}`);
    const backend = backendOn(client, { database: freshName() }, { requestTimeoutMs: REQUEST_TIMEOUT_MS });
    return placeContext({ backend, restart: {}, close: () => client.close() }, TOLERANCE_MS);
  });
});
