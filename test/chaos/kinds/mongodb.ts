/** MongoDB, or what stands in for it, through its driver. */
import { MongoClient } from "mongodb";
import type * as Adapter from "../../../src/adapters/mongodb.js";
import type { Kind } from "../kind.ts";
import { library } from "../library.ts";
import { started } from "./server.ts";

export const mongodbKind: Kind = {
  name: "mongodb",
  durable: true,
  setsClock: false,
  start: () => started("mongodb"),
  async connect({ port, name }) {
    const { mongodb } = await library<typeof Adapter>("adapters/mongodb.js");
    const client = new MongoClient(`mongodb://127.0.0.1:${port}`);
    return { backend: mongodb(client, { name }), close: () => void client.close().catch(() => undefined) };
  },
};
