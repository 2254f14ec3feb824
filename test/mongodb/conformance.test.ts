/** The conformance list over a MongoDB: the product where there is one, else what stands in for it. */
import { MongoClient } from "mongodb";
import { itConforms } from "../conformance/on-server.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startMongodb } from "../servers/start-mongodb.ts";
import { backendOn } from "./kit.ts";

await describeWithServer("mongodb", "the conformance list", () => {
  itConforms({
    start: () => startMongodb(),
    backend: ({ port }, database) =>
      backendOn(new MongoClient(`mongodb://127.0.0.1:${port}`), { database }, { requestTimeoutMs: 10_000 }),
    // What stands in for MongoDB is written in Python, and all cases wait for it.
    atOnce: 4,
    async wipe({ port }, database) {
      const client = new MongoClient(`mongodb://127.0.0.1:${port}`);
      await client.db(database).dropDatabase();
      await client.close();
    },
    close: ({ client }) => (client as MongoClient).close(),
  });
});
