/** memcached, through memjs. */
import { given, LOGIN_FIELDS, type Kind } from "../kind.js";
import { loadPackage } from "../packages.js";

/** `memcached://` */
export const memcachedKind: Kind = {
  kind: "memcached",
  schemes: { memcached: { tls: false } },
  forms: "memcached://[USER:PASSWORD@]HOST[:PORT]",
  fields: ["name", "prefix", ...LOGIN_FIELDS],
  hosts: "one",
  port: 11_211,
  pathIs: "nothing",
  packages: ["memjs"],
  check({ fields: { user, password } }, refuse): void {
    if ((user === undefined) !== (password === undefined))
      throw refuse("user", "given with a password, or neither");
  },
  async open({ hosts: [server], fields }) {
    const { memcached } = await import("../../adapters/memcached.js");
    const { Client, Server } = (
      await loadPackage("memjs", "memcached:// backends need", () => import("memjs"))
    ).default;
    const { host = "localhost", port = 11_211 } = server ?? {};
    // Never connected: the adapter makes its own after it.
    const one = new Server(host, port, fields.user, fields.password, {});
    const client = new Client([one], { retries: 0 });
    const backend = memcached(client, given(fields, "name", "prefix"));
    return { backend, close: async () => client.close() };
  },
};
