/** The part of a memjs client that the adapter uses, and how one is made that is used for a single connection. */
import type { Socket } from "node:net";
import { InvalidOptionError } from "../../errors.js";

/** A `Client` of the package memjs with one server. Structural, so that no client is imported. */
export interface MemcachedLike {
  readonly servers: readonly {
    readonly host?: string | undefined;
    readonly port?: string | number | undefined;
  }[];
  readonly options: object;
  perform(
    key: string,
    request: Buffer,
    seq: number,
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the types that exist for it differ from version to version
    callback?: any,
    retries?: number,
  ): void;
}

/** An answer, as memjs takes it apart. */
export interface MemcachedResponse {
  readonly header: { readonly status: number; readonly cas: Buffer };
  readonly val: Buffer;
}

/** A memjs client of the adapter's own: what the public types of memjs hide is open. */
export interface OneConnection {
  seq: number;
  incrSeq(): void;
  readonly servers: readonly [{ readonly connected: boolean; readonly _socket?: Socket | undefined }];
  perform(
    key: string,
    request: Buffer,
    seq: number,
    callback: (error: unknown, response: MemcachedResponse) => void,
  ): void;
  statsWithKey(
    key: string,
    callback: (error: unknown, server: string, stats: Readonly<Record<string, string>> | null) => void,
  ): void;
}

/** The sequence number is a 32-bit field; memjs lets it become negative after 2^31 requests, and then throws. */
const SEQ_MAX = 0x7fff_fff0;

/**
 * A memjs client for one connection to the server of another one: nothing is sent twice, and no other server is asked.
 * Never used for a second connection, since memjs mixes up what it read from the two: it keeps half an answer of the
 * first, and when that one is closed late it forgets the second.
 */
export function oneConnection(users: MemcachedLike, timeoutMs: number): OneConnection {
  const [server] = users.servers;
  if (server === undefined)
    throw new InvalidOptionError("memcached(client)", "a client with one server", users);
  const read = (option: string): unknown => Reflect.get(server, option);
  const Client = users.constructor as new (servers: readonly object[], options: object) => OneConnection;
  const Server = server.constructor as new (
    host: unknown,
    port: unknown,
    username: unknown,
    password: unknown,
    options: object,
  ) => object;
  // The adapter has timers of its own, which come first.
  const timeout = (2 * timeoutMs) / 1_000;
  const options = { timeout, conntimeout: timeout, keepAlive: true, keepAliveDelay: 30 };
  const own = new Server(read("host"), read("port"), read("username"), read("password"), options);
  return new Client([own], { retries: 0, failover: false, logger: { log: () => undefined } });
}

/** The number of the next request. */
export function nextSeq(client: OneConnection): number {
  if (client.seq < 0 || client.seq >= SEQ_MAX) client.seq = 0;
  client.incrSeq();
  return client.seq;
}

/** What messages call the server of a client. */
export function nameOf({ servers }: MemcachedLike): string {
  const [server] = servers;
  return `${server?.host ?? "localhost"}:${server?.port ?? 11_211}`;
}
