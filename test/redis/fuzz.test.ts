/** The conformance fuzz on a real Redis, in real time: several sequences at once, and alone over restarts. */
import { afterAll, beforeAll } from "vitest";
import { describeFuzz } from "../conformance/fuzz.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startRedis, type RunningRedis } from "../servers/redis-server.ts";
import { redisContext } from "./context.ts";

/** A server that is not scheduled for a moment; what the client's side waits is known exactly. */
const TOLERANCE_MS = 25;

await describeWithServer("redis-7", "side by side with the memory adapter", (name) => {
  let server: RunningRedis;
  beforeAll(async () => {
    server = await startRedis({ server: name, appendOnly: "always" });
  });
  afterAll(() => server.stop());
  for (const durable of [false, true]) {
    describeFuzz(
      durable ? "durable" : "volatile",
      () => redisContext({ server, durable, toleranceMs: TOLERANCE_MS }),
      { restarts: true, seconds: 3 },
    );
  }
});
