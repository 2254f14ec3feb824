/** MongoDB, through its official driver. */
import { given, LOGIN_FIELDS, TLS_FIELDS, type Kind, type TlsSettings } from "../kind.js";
import { loadPackage } from "../packages.js";

const SRV = "mongodb+srv";

/** `mongodb://` and `mongodb+srv://` */
export const mongodbKind: Kind = {
  kind: "mongodb",
  schemes: { mongodb: { tls: false }, [SRV]: { tls: true } },
  forms: "mongodb://[USER:PASSWORD@]HOST[:PORT][,HOST…][/DATABASE] or mongodb+srv://HOST",
  fields: [
    "name",
    "collection",
    "database",
    "authSource",
    "replicaSet",
    "directConnection",
    "requestTimeout",
    ...LOGIN_FIELDS,
    ...TLS_FIELDS,
  ],
  hosts: "many",
  port: 27_017,
  pathIs: "database",
  packages: ["mongodb"],
  check({ scheme, hosts, fields }, refuse): void {
    if (scheme === SRV && hosts.length !== 1)
      throw refuse("tls", "of one host, whose DNS entry names the others");
    if (fields.password !== undefined && fields.user === undefined)
      throw refuse("user", "there beside a password");
  },
  async open({ scheme, hosts, fields, tls }) {
    const { mongodb } = await import("../../adapters/mongodb.js");
    const { MongoClient } = await loadPackage("mongodb", "mongodb:// backends need", () => import("mongodb"));
    const servers = hosts.map(({ host, port }) => {
      const name = host.includes(":") ? `[${host}]` : host;
      return scheme === SRV ? name : `${name}:${port}`;
    });
    const { user, password = "" } = fields;
    // Without the password: the driver's own messages may show the URL.
    const client = new MongoClient(`${scheme}://${servers.join(",")}/`, {
      appName: "quorum-lock",
      ...(user === undefined
        ? {}
        : {
            auth: { username: user, password },
            authSource: fields.authSource ?? fields.database ?? "admin",
          }),
      ...given(fields, "replicaSet", "directConnection"),
      ...(tls === undefined ? {} : tlsOf(tls)),
    });
    const backend = mongodb(client, given(fields, "name", "database", "collection", "requestTimeoutMs"));
    return { backend, close: () => client.close(true) };
  },
};

/** The driver hands what it does not know itself to Node's TLS. */
function tlsOf({ ca, cert, key, servername, rejectUnauthorized }: TlsSettings): object {
  return {
    tls: true,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(servername === undefined ? {} : { servername }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  };
}
