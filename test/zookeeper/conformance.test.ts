/** The conformance list over a real ZooKeeper. */
import { itConforms } from "../conformance/on-server.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startZookeeper } from "../servers/start-zookeeper.ts";
import { backendOn, connected, removeAll } from "./kit.ts";

/** All cases at once on a busy machine; what a bound is worth is measured elsewhere. */
const REQUEST_TIMEOUT_MS = 10_000;

await describeWithServer("zookeeper", "the conformance list", () => {
  itConforms({
    wakes: true,
    start: () => startZookeeper(),
    backend: ({ port }, prefix) => backendOn({ port, prefix }, { requestTimeoutMs: REQUEST_TIMEOUT_MS }),
    async wipe({ port }, prefix) {
      const client = await connected(`127.0.0.1:${port}`);
      await removeAll(client, `/${prefix}`);
      client.close();
    },
  });
});
