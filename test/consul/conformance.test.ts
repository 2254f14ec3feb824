/** The conformance list over a real Consul. */
import { consul } from "../../src/adapters/consul.js";
import { itConforms } from "../conformance/on-server.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startConsul } from "../servers/start-consul.ts";
import { addressOf } from "./kit.ts";

await describeWithServer("consul", "the conformance list", () => {
  itConforms({
    start: () => startConsul(),
    backend: (server, prefix) => consul(addressOf(server), { prefix }),
    async wipe(server, prefix) {
      await fetch(`${addressOf(server)}/v1/kv/${prefix}/?recurse`, { method: "DELETE" });
    },
  });
});
