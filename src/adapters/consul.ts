/** Consul through its HTTP interface: the key-value store with compare and swap. No client package is needed. */
import type { Backend, BackendSession, Capabilities, Deployment } from "../backend.js";
import { InvalidOptionError, refuseUnknownOptions } from "../errors.js";
import { createAgent, type FetchLike } from "./consul/agent.js";
import { createConsulStore } from "./consul/store.js";
import { openCasSession } from "./shared/cas-session.js";

export type { FetchLike } from "./consul/agent.js";

/** Options of {@link consul}. */
export interface ConsulBackendOptions {
  /** What messages and logs call it. Default: host and port. */
  readonly name?: string;
  /** The ACL token, sent as `X-Consul-Token`. Never shown. */
  readonly token?: string;
  /** Put before all keys: `prefix/keys/…`, `prefix/mark`. Letters, digits, `_` and `-`. Default "quorum-lock". */
  readonly prefix?: string;
  /** How long one request may take, in milliseconds; an operation takes two. Default 1000. */
  readonly requestTimeoutMs?: number;
  /** Instead of the global `fetch`: for client certificates, proxies or unix sockets. Must not send anything twice. */
  readonly fetch?: FetchLike;
}

const OPTIONS: ReadonlySet<string> = new Set<keyof ConsulBackendOptions>([
  "name",
  "token",
  "prefix",
  "requestTimeoutMs",
  "fetch",
]);
const PREFIX = /^[\w-]{1,32}$/;
const REQUEST_TIMEOUT_MS = 1_000;
const REQUEST_TIMEOUT_MS_MAX = 60_000;

/** Its clock shows itself in whole seconds: an end is counted from the latest that it may be, and noticed one late. */
const LATE_BY_MS = 2_001;

/**
 * A backend on one Consul cluster, through the agent at `address`, such as "http://127.0.0.1:8500". Use one agent: the
 * clock that ends locks is the clock of the agent that answers.
 *
 * @example
 * ```ts
 * import { createLocker } from "quorum-lock";
 * import { consul } from "quorum-lock/consul";
 *
 * const addresses = ["http://a.internal:8500", "http://b.internal:8500", "http://c.internal:8500"];
 * const locker = createLocker({ backends: addresses.map((address) => consul(address)) });
 * await locker.close();
 * ```
 *
 * @throws InvalidOptionError
 */
export function consul(address: string | URL, options: ConsulBackendOptions = {}): Backend {
  const url = parsed(address);
  refuseUnknownOptions(options, OPTIONS, "the options of consul()");
  const { prefix = "quorum-lock", token, requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
  if (typeof prefix !== "string" || !PREFIX.test(prefix)) {
    throw new InvalidOptionError("consul(…, { prefix })", "1 to 32 letters, digits, `_` or `-`", prefix);
  }
  // The value is a secret, whatever it is.
  if (token !== undefined && (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token))) {
    throw new InvalidOptionError("consul(…, { token })", "a token without blanks", "(not shown)");
  }
  if (
    !Number.isInteger(requestTimeoutMs) ||
    requestTimeoutMs < 1 ||
    requestTimeoutMs > REQUEST_TIMEOUT_MS_MAX
  ) {
    const rule = `a whole number from 1 to ${REQUEST_TIMEOUT_MS_MAX}`;
    throw new InvalidOptionError("consul(…, { requestTimeoutMs })", rule, requestTimeoutMs);
  }
  const send = options.fetch ?? ((target, init) => fetch(target, init));
  if (typeof send !== "function") {
    throw new InvalidOptionError("consul(…, { fetch })", "a function like fetch", send);
  }
  const name = options.name ?? url.host;
  if (typeof name !== "string" || name === "") {
    throw new InvalidOptionError("consul(…, { name })", "a non-empty string", name);
  }
  const capabilities: Capabilities = {
    earlyByMs: 0,
    lateByMs: LATE_BY_MS,
    expiryClock: "wall",
    durable: true,
    lists: true,
    wakes: true,
    coalesces: "no",
    atomicStep: "one transaction, conditional on the mark and on the key's ModifyIndex",
    acquireRoundTrips: 2,
  };
  return {
    kind: "consul",
    name,
    capabilities,
    client: url,
    open(deployment: Deployment): BackendSession {
      const agent = createAgent({ name, url, token, requestTimeoutMs, fetch: send });
      const store = createConsulStore(agent, { name, prefix });
      return openCasSession(store, {
        name,
        durable: true,
        deployment,
        markPlace: `the keys that begin with ${prefix}/mark`,
      });
    },
  };
}

function parsed(address: string | URL): URL {
  const rule = 'an http or https URL without user, query and #, such as "http://127.0.0.1:8500"';
  const url =
    address instanceof URL ? new URL(address) : URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined) throw new InvalidOptionError("consul(address)", rule, address);
  const rest = url.username + url.password + url.search + url.hash;
  if (!["http:", "https:"].includes(url.protocol) || rest !== "") {
    // Without what may be a password.
    throw new InvalidOptionError("consul(address)", rule, `${url.protocol}//${url.host}…`);
  }
  return url;
}
