/** Consul, through its HTTP interface. */
import { Agent, request } from "node:https";
import type { FetchLike } from "../../adapters/consul.js";
import { given, TLS_FIELDS, type Kind } from "../kind.js";

const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** `consul://` and `consuls://` */
export const consulKind: Kind = {
  kind: "consul",
  schemes: { consul: { tls: false }, consuls: { tls: true } },
  forms: "consul://[:ACL-TOKEN@]HOST[:PORT] or consuls://… (TLS)",
  fields: ["name", "prefix", "requestTimeout", "password", "passwordFile", ...TLS_FIELDS],
  hosts: "one",
  port: 8500,
  pathIs: "nothing",
  packages: [],
  async open({ hosts: [server], fields, tls }) {
    const { consul } = await import("../../adapters/consul.js");
    const { host = "localhost", port = 8500 } = server ?? {};
    const name = host.includes(":") ? `[${host}]` : host;
    const agent = tls === undefined ? undefined : new Agent({ ...tls, keepAlive: true });
    const backend = consul(`${tls === undefined ? "http" : "https"}://${name}:${port}`, {
      ...given(fields, "name", "prefix", "requestTimeoutMs"),
      ...(fields.password === undefined ? {} : { token: fields.password }),
      ...(agent === undefined ? {} : { fetch: fetchThrough(agent) }),
    });
    return { backend, close: async () => agent?.destroy() };
  },
};

/** The global `fetch` takes no certificates. */
function fetchThrough(agent: Agent): FetchLike {
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const sent = request(url, { agent, method, headers, signal }, (answer) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        answer.on("error", reject);
        answer.on("data", (part: Buffer) => {
          bytes += part.length;
          if (bytes > ANSWER_BYTES_MAX) answer.destroy();
          else parts.push(part);
        });
        answer.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          resolve({
            status: answer.statusCode ?? 0,
            headers: { get: (header) => headerText(answer.headers[header.toLowerCase()]) },
            text: () => Promise.resolve(text),
          });
        });
      });
      sent.on("error", reject);
      sent.end(body);
    });
}

function headerText(value: string | readonly string[] | undefined): string | null {
  return value === undefined ? null : typeof value === "string" ? value : value.join(", ");
}
