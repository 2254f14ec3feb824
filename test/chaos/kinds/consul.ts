/** Consul through fetch, one server. */
import type * as Adapter from "../../../src/adapters/consul.js";
import type { Kind } from "../kind.ts";
import { library } from "../library.ts";
import { started } from "./server.ts";

export const consulKind: Kind = {
  name: "consul",
  durable: true,
  setsClock: false,
  start: () => started("consul"),
  async connect({ port, name }) {
    const { consul } = await library<typeof Adapter>("adapters/consul.js");
    return { backend: consul(`http://127.0.0.1:${port}`, { name }), close: () => undefined };
  },
};
