/** ZooKeeper through node-zookeeper-client, one server. */
import { createRequire } from "node:module";
import type * as Adapter from "../../../src/adapters/zookeeper.js";
import type { Kind } from "../kind.ts";
import { library } from "../library.ts";
import { started } from "./server.ts";

const { createClient } = createRequire(import.meta.url)("node-zookeeper-client") as {
  createClient(address: string): Adapter.ZooKeeperLike;
};

export const zookeeperKind: Kind = {
  name: "zookeeper",
  durable: true,
  setsClock: false,
  start: () => started("zookeeper"),
  async connect({ port, name }) {
    const { zookeeper } = await library<typeof Adapter>("adapters/zookeeper.js");
    // Never connected: the backend works on clients of its own.
    return { backend: zookeeper(createClient(`127.0.0.1:${port}`), { name }), close: () => undefined };
  },
};
