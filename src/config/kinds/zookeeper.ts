/** ZooKeeper, through node-zookeeper-client. */
import { given, LOGIN_FIELDS, type Kind } from "../kind.js";
import { loadPackage } from "../packages.js";

const PACKAGE = "node-zookeeper-client";

/** `zookeeper://` */
export const zookeeperKind: Kind = {
  kind: "zookeeper",
  schemes: { zookeeper: { tls: false } },
  forms: "zookeeper://[USER:PASSWORD@]HOST[:PORT][,HOST…] (the members of one ensemble)",
  fields: ["name", "prefix", "requestTimeout", ...LOGIN_FIELDS],
  hosts: "many",
  port: 2181,
  pathIs: "nothing",
  packages: [PACKAGE],
  check({ fields: { user, password } }, refuse): void {
    if ((user === undefined) !== (password === undefined))
      throw refuse("user", "given with a password, or neither");
  },
  async open({ hosts, fields }) {
    const { zookeeper } = await import("../../adapters/zookeeper.js");
    const loaded = await loadPackage(
      PACKAGE,
      "zookeeper:// backends need",
      () => import("node-zookeeper-client"),
    );
    const { createClient, ACL, Id, Permission } = loaded.default;
    // Never connected: the adapter makes its own after it.
    const client = createClient(hosts.map(({ host, port }) => `${host}:${port}`).join(","));
    const { user, password } = fields;
    if (user !== undefined && password !== undefined) {
      client.addAuthInfo("digest", Buffer.from(`${user}:${password}`));
    }
    const backend = zookeeper(client, {
      ...given(fields, "name", "prefix", "requestTimeoutMs"),
      // Who logs in does not want everybody else to write there.
      ...(user === undefined ? {} : { acl: [new ACL(Permission.ALL, new Id("auth", ""))] }),
    });
    return { backend, close: async () => client.close() };
  },
};
