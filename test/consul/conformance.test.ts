/** The conformance list over a real Consul. */
import { consul } from "../../src/adapters/consul.js";
import { itConforms } from "../conformance/on-server.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startConsul } from "../servers/start-consul.ts";
import { addressOf } from "./kit.ts";

/** All cases at once on a busy machine; what a bound is worth is measured elsewhere. */
const REQUEST_TIMEOUT_MS = 10_000;

await describeWithServer("consul", "the conformance list", () => {
  itConforms({
    wakes: true,
    start: () => startConsul(),
    backend: (server, prefix) => consul(addressOf(server), { prefix, requestTimeoutMs: REQUEST_TIMEOUT_MS }),
    async wipe(server, prefix) {
      await fetch(`${addressOf(server)}/v1/kv/${prefix}/?recurse`, { method: "DELETE" });
    },
  });
});
