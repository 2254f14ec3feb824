/** Where a session hears that a ticket's turn has come: a channel of its own, on a connection for nothing else. */
import { randomBytes } from "node:crypto";
import { safeDuplicate, type RedisLike } from "./client.js";

/** The channel of one session. */
export interface Inbox {
  /** What servers know a ticket by. */
  address(ticket: string): string;
  /** Opens the connection with the first listener; calls that come before it stands are lost. Returns how to stop. */
  watch(listener: (ticket: string, inMs: number) => void): () => void;
  close(): void;
}

/** Undefined for a client that cannot subscribe. */
export function createInbox(client: RedisLike, prefix: string): Inbox | undefined {
  if (client.subscribe === undefined) return undefined;
  const channel = `${prefix}:i:${randomBytes(8).toString("hex")}`;
  const listeners = new Set<(ticket: string, inMs: number) => void>();
  let subscriber: RedisLike | undefined;

  function open(): void {
    const own = safeDuplicate(client);
    subscriber = own;
    // Without a listener an error of a connection ends the process; that it is gone shows by what does not come.
    own.on("error", () => undefined);
    own.on("message", (_channel: string, message: string) => {
      const [, ticket, inMs] = /^(\d+) (\d+)$/.exec(message) ?? [];
      if (ticket === undefined) return;
      for (const listener of listeners) listener(ticket, Number(inMs));
    });
    // On every new connection: what a client itself would repeat is not asked for while it is not connected.
    own.on("ready", () => void own.subscribe?.(channel).catch(() => undefined));
    own.connect().catch(() => undefined);
  }

  return {
    // The waiter comes first: it is by that name that all backends order those who began at the same time. The end looks like that
    // of a lock without a fence, as earlier releases expect of what lies in the place of one.
    address: (ticket) => `${ticket}|${channel}|0`,
    watch(listener) {
      if (subscriber === undefined) open();
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close(): void {
      listeners.clear();
      subscriber?.disconnect();
    },
  };
}
