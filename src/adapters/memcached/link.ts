/**
 * One connection to one memcached process, through a memjs client of its own. When anything goes wrong with it, it is
 * over: versions of items mean nothing on another connection, which may lead to another process.
 */
import { atEndOfTurn } from "../shared/end-of-turn.js";
import { nextSeq, oneConnection, type MemcachedLike, type MemcachedResponse } from "./client.js";
import type { LinkFailure } from "./faults.js";
import { encode, type MemcachedRequest } from "./protocol.js";

/** A connection. What it rejects with is a {@link LinkFailure}. */
export interface Link {
  isOver(): boolean;
  /** Whether it leads to that socket still; requests of one turn of the event loop are sent in their order. */
  send(request: MemcachedRequest): Promise<MemcachedResponse>;
  /** Statistics, of the server in general or of what `which` names. */
  stats(which: "" | "settings"): Promise<Readonly<Record<string, string>>>;
  end(): void;
}

/** How long one request may take. */
export const REQUEST_TIMEOUT_MS = 1_000;

/** Opens a connection; what is sent before it is there waits for it. */
export function openLink(users: MemcachedLike): Link {
  const client = oneConnection(users, REQUEST_TIMEOUT_MS);
  /** Changed in place: hundreds may be under way. */
  const pending = new Set<(failure: LinkFailure) => void>();
  let failure: LinkFailure | undefined;
  let connected = false;
  let watched = false;
  let corked = false;

  function fail(cause: unknown, timedOut: boolean): void {
    if (failure !== undefined) return;
    failure = { cause, connected, timedOut };
    const told = [...pending];
    pending.clear();
    const socket = client.servers[0]._socket;
    // Whatever the kernel still holds back must not be sent later.
    if (socket?.connecting === false) socket.resetAndDestroy();
    else socket?.destroy();
    for (const reject of told) reject(failure);
  }

  /** memjs makes its socket with the first request, and tells nobody when the server closes it. */
  function watch(): void {
    if (watched) return;
    watched = true;
    const socket = client.servers[0]._socket;
    socket?.once("connect", () => (connected = true));
    socket?.once("error", (error) => fail(error, false));
    socket?.once("close", () => fail(new Error("closed by the server"), false));
  }

  /** What is asked in one turn of the event loop leaves in one piece: memjs writes each request by itself. */
  function cork(): void {
    const socket = client.servers[0]._socket;
    if (corked || socket === undefined) return;
    corked = true;
    socket.cork();
    atEndOfTurn(() => {
      corked = false;
      socket.uncork();
    });
  }

  /** One request with its time limit. */
  function ask<T>(start: (done: (error: unknown, value: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      if (failure !== undefined) {
        reject(asError(failure));
        return;
      }
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        pending.delete(onFailure);
        then();
      };
      const onFailure = (why: LinkFailure): void => settle(() => reject(asError(why)));
      const timer = setTimeout(() => fail(new Error("no answer in time"), true), REQUEST_TIMEOUT_MS);
      pending.add(onFailure);
      cork();
      start((error, value) => {
        if (error === null || error === undefined) settle(() => resolve(value));
        else fail(error, false);
      });
      watch();
    });
  }

  return {
    isOver: () => failure !== undefined,

    send: (request: MemcachedRequest): Promise<MemcachedResponse> =>
      ask((done) => {
        const seq = nextSeq(client);
        client.perform("", encode(request, seq), seq, done);
      }),

    stats: (which: "" | "settings"): Promise<Readonly<Record<string, string>>> =>
      ask((done) => {
        nextSeq(client);
        client.statsWithKey(which, (error, _, found) => done(error, found ?? {}));
      }),

    end: () => fail(new Error("its session was closed"), false),
  };
}

/** A {@link LinkFailure}, thrown. */
export class LinkError extends Error {
  override readonly name: string = "LinkError";
  readonly failure: LinkFailure;

  constructor(failure: LinkFailure) {
    super("the connection failed", { cause: failure.cause });
    this.failure = failure;
  }
}

function asError(failure: LinkFailure): LinkError {
  return new LinkError(failure);
}

interface Shared {
  link: Link | undefined;
  users: number;
}

const shared = new WeakMap<MemcachedLike, Shared>();

/** The connections to the server of a client, one at a time, shared by all lockers of the process. */
export function connect(client: MemcachedLike): { readonly link: () => Link; readonly leave: () => void } {
  const mine = shared.get(client) ?? { link: undefined, users: 0 };
  mine.users++;
  shared.set(client, mine);
  return {
    link(): Link {
      if (mine.link === undefined || mine.link.isOver()) mine.link = openLink(client);
      return mine.link;
    },
    leave(): void {
      if (--mine.users > 0) return;
      shared.delete(client);
      mine.link?.end();
    },
  };
}
