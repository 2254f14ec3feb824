/** etcd 3.5 through etcd3, one member. A lock that nobody releases lasts up to three seconds longer than it was asked for. */
import { Etcd3 } from "etcd3";
import type * as Adapter from "../../../src/adapters/etcd.js";
import type { Kind } from "../kind.ts";
import { library } from "../library.ts";
import { started } from "./server.ts";

export const etcdKind: Kind = {
  name: "etcd",
  durable: true,
  setsClock: false,
  start: () => started("etcd-3.5"),
  async connect({ port, name }) {
    const { etcd, recommendedEtcdOptions } = await library<typeof Adapter>("adapters/etcd.js");
    const client = new Etcd3({ hosts: `http://127.0.0.1:${port}`, ...recommendedEtcdOptions() });
    return { backend: etcd(client, { name }), close: () => client.close() };
  },
};
