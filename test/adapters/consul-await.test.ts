/** A question of Consul that waits for a change, where something on the way takes the index out of the answers. */
import { expect, test } from "vitest";
import { createAgent } from "../../src/adapters/consul/agent.js";

test("an answer without an index ends a watch, which would else be answered at once for ever", async () => {
  const agent = createAgent({
    name: "b",
    url: new URL("http://agent:8500"),
    token: undefined,
    requestTimeoutMs: 1_000,
    fetch: async () => new Response("[]", { status: 200 }),
  });
  const { signal } = new AbortController();
  await expect(agent.await("k", 0, signal)).rejects.toMatchObject({ code: "BACKEND_UNSUPPORTED" });
  agent.close();
});
