/**
 * Where a session hears that a ticket's turn has come: a channel of its own, on a connection for nothing else, which is
 * there only while somebody waits.
 */
import { randomBytes } from "node:crypto";
import type { Ticket } from "../../backend.js";
import { createTickets } from "../shared/tickets.js";
import type { Server } from "./client.js";
import { listen, type Listening } from "./connection.js";

/** The channel of one session. */
export interface Inbox {
  /** What the server knows a ticket by; undefined for one with a name that is too long to be called. */
  address(ticketId: string): string | undefined;
  /** Stands in line: there is something to hear from now on. */
  joined(ticket: Ticket): void;
  /** Has the lock, or waits no more. */
  left(ticketId: string): void;
  watch(listener: (ticket: string, inMs: number) => void): () => void;
  close(): void;
}

/** For so long the connection outlives the last who waited, so that waits in a row share one. */
const LINGER_MS = 5_000;
/** How often to look whether somebody still waits and the connection is alive. */
const CHECK_MS = 2_000;
const REOPEN_MS_MIN = 50;
const REOPEN_MS_MAX = 2_000;
/** A call must fit into what PostgreSQL sends. */
const NAME_LENGTH_MAX = 64;

/** Connects to nothing yet. */
export function createInbox(server: Server): Inbox {
  // Its shape is known to the statements, which call nothing else.
  const channel = `ql_${randomBytes(8).toString("hex")}`;
  const tickets = createTickets<undefined>();
  const listeners = new Set<(ticket: string, inMs: number) => void>();
  let state: "idle" | "opening" | "open" | "closed" = "idle";
  let listening: Listening | undefined;
  let timer: NodeJS.Timeout | undefined;
  let reopenMs = REOPEN_MS_MIN;
  /** Another try is due later. */
  let reopening = false;
  let neededAt = Number.NEGATIVE_INFINITY;

  function isNeeded(): boolean {
    const now = performance.now();
    if (listeners.size > 0 && tickets.waiting().size > 0) neededAt = now;
    return now - neededAt < LINGER_MS;
  }

  function later(delayMs: number, work: () => void): void {
    clearTimeout(timer);
    timer = setTimeout(work, delayMs);
    // It must not keep a process alive that has nothing else to do.
    timer.unref();
  }

  function call(ticket: string, inMs: number): void {
    for (const listener of listeners) listener(ticket, inMs);
  }

  function heard(payload: string): void {
    const [, ticket, inMs] = /^(.*) (\d+)$/s.exec(payload) ?? [];
    if (ticket !== undefined) call(ticket, Number(inMs));
  }

  async function open(): Promise<void> {
    state = "opening";
    try {
      const opened = await listen(server, channel, { call: heard, gone });
      if (isClosed()) {
        opened.destroy();
        return;
      }
      listening = opened;
      state = "open";
      reopenMs = REOPEN_MS_MIN;
      later(CHECK_MS, () => void check());
      // Whoever was called before it stood has not heard of it: each looks once.
      for (const ticket of tickets.waiting().keys()) call(ticket, 0);
    } catch {
      // Why shows with the next statement, and waiters ask now and then.
      if (!isClosed()) state = "idle";
      again();
    }
  }

  function gone(): void {
    if (state !== "open") return;
    listening = undefined;
    state = "idle";
    again();
  }

  function again(): void {
    if (state !== "idle") return;
    reopening = true;
    later(reopenMs, () => {
      reopening = false;
      if (state === "idle" && isNeeded()) void open();
    });
    reopenMs = Math.min(2 * reopenMs, REOPEN_MS_MAX);
  }

  async function check(): Promise<void> {
    if (!isNeeded()) {
      const unneeded = listening;
      listening = undefined;
      if (state === "open") state = "idle";
      unneeded?.destroy();
      return;
    }
    if ((await listening?.check()) === true && state === "open") later(CHECK_MS, () => void check());
  }

  /** A function, since it changes while something is awaited. */
  function isClosed(): boolean {
    return state === "closed";
  }

  return {
    address: (ticketId) => (ticketId.length > NAME_LENGTH_MAX ? undefined : `${channel}|${ticketId}`),
    joined(ticket) {
      tickets.joined(ticket, undefined);
      if (state === "idle" && !reopening && isNeeded()) void open();
    },
    left: (ticketId) => tickets.left(ticketId),
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close(): void {
      state = "closed";
      clearTimeout(timer);
      listeners.clear();
      listening?.destroy();
    },
  };
}
