/** etcd, through etcd3. */
import { given, LOGIN_FIELDS, TLS_FIELDS, type Kind, type TlsSettings } from "../kind.js";
import { loadPackage } from "../packages.js";

/** `etcd://` and `etcds://` */
export const etcdKind: Kind = {
  kind: "etcd",
  schemes: { etcd: { tls: false }, etcds: { tls: true } },
  forms: "etcd://[USER:PASSWORD@]HOST[:PORT][,HOST…] (the members of one cluster) or etcds://… (TLS)",
  fields: ["name", "prefix", "requestTimeout", ...LOGIN_FIELDS, ...TLS_FIELDS],
  hosts: "many",
  port: 2379,
  pathIs: "nothing",
  packages: ["etcd3"],
  check({ fields: { user, password, requestTimeoutMs }, tls }, refuse): void {
    if ((user === undefined) !== (password === undefined))
      throw refuse("user", "given with a password, or neither");
    if (requestTimeoutMs !== undefined && requestTimeoutMs < 100)
      throw refuse("requestTimeout", "at least 100ms");
    // grpc-js, which etcd3 uses, takes neither.
    if (tls?.rejectUnauthorized === false)
      throw refuse("tls.rejectUnauthorized", "left out: etcd3 always verifies");
    if ((tls?.cert === undefined) !== (tls?.key === undefined)) {
      throw refuse(
        tls?.cert === undefined ? "tls.key" : "tls.cert",
        "given with tls.cert and tls.key, or neither",
      );
    }
  },
  async open({ hosts, fields, tls }) {
    const { etcd, recommendedEtcdOptions } = await import("../../adapters/etcd.js");
    const { Etcd3 } = await loadPackage("etcd3", "etcd:// backends need", () => import("etcd3"));
    const { user: username, password, requestTimeoutMs: callTimeoutMs } = fields;
    const { grpcOptions, ...safe } = recommendedEtcdOptions();
    const servername =
      tls?.servername === undefined ? {} : { "grpc.ssl_target_name_override": tls.servername };
    const scheme = tls === undefined ? "http" : "https";
    const client = new Etcd3({
      hosts: hosts.map(({ host, port }) => `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`),
      ...(username === undefined || password === undefined ? {} : { auth: { username, password } }),
      ...(tls?.ca === undefined ? {} : { credentials: credentialsOf(tls, tls.ca) }),
      ...safe,
      grpcOptions: { ...grpcOptions, ...servername },
    });
    const options = given(fields, "name", "prefix");
    const backend = etcd(client, { ...options, ...(callTimeoutMs === undefined ? {} : { callTimeoutMs }) });
    return { backend, close: async () => client.close() };
  },
};

function credentialsOf(
  { cert, key }: TlsSettings,
  ca: string,
): { rootCertificate: Buffer; certChain?: Buffer; privateKey?: Buffer } {
  return {
    rootCertificate: Buffer.from(ca),
    ...(cert === undefined ? {} : { certChain: Buffer.from(cert) }),
    ...(key === undefined ? {} : { privateKey: Buffer.from(key) }),
  };
}
