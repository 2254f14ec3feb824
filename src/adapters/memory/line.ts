/** Who waits for the keys of a memory backend, in the order of their tickets, and for whom a freed key is kept. */
import type { Ticket } from "../../backend.js";
import { RESERVATION_MS } from "../shared/reservation.js";

/** Hears that a ticket may try in so many milliseconds. */
export type Called = (ticket: string, inMs: number) => void;

/** A ticket, and the session that hears of it. */
export interface Place {
  readonly session: object;
  readonly ticket: Ticket;
}

/** The lines of one backend. Times in milliseconds of its clock. */
export interface Line {
  /** Stands in line, or stands there longer. */
  join(key: string, place: Place, nowMs: number): void;
  /** Has the lock, or waits no more. */
  leave(key: string, session: object, ticketId: string): void;
  /** For how long the key is kept for somebody else than that ticket; 0 when it is not. */
  keptMs(
    key: string,
    by: { readonly session: object; readonly ticketId: string | undefined },
    nowMs: number,
  ): number;
  /** The key is free: keeps it for the first in line, and calls the first two. */
  freed(key: string, nowMs: number): void;
  watch(session: object, called: Called): () => void;
  /** As if nobody had ever waited. */
  clear(): void;
}

interface Waiter extends Place {
  readonly untilMs: number;
}

interface Reservation {
  readonly session: object;
  readonly ticketId: string;
  readonly untilMs: number;
}

/** Nobody waits. */
export function createLine(): Line {
  const lines = new Map<string, readonly Waiter[]>();
  const reservations = new Map<string, Reservation>();
  const listeners = new Map<object, ReadonlySet<Called>>();

  function call({ session, ticket }: Place, inMs: number): void {
    for (const called of listeners.get(session) ?? []) {
      // Never within the operation that frees the key.
      void Promise.resolve().then(() => called(ticket.id, inMs));
    }
  }

  function keep(key: string, waiters: readonly Waiter[]): void {
    if (waiters.length === 0) lines.delete(key);
    else lines.set(key, waiters);
  }

  function others(key: string, session: object, ticketId: string): readonly Waiter[] {
    const waiters = lines.get(key) ?? [];
    return waiters.filter((each) => each.session !== session || each.ticket.id !== ticketId);
  }

  return {
    join(key, { session, ticket }, nowMs) {
      const waiter = { session, ticket, untilMs: nowMs + ticket.waitsMs };
      const all = [...others(key, session, ticket.id), waiter];
      keep(
        key,
        all.sort((a, b) => (a.ticket.since < b.ticket.since ? -1 : 1)),
      );
    },
    leave(key, session, ticketId) {
      keep(key, others(key, session, ticketId));
      const reservation = reservations.get(key);
      if (reservation?.session === session && reservation.ticketId === ticketId) reservations.delete(key);
    },
    keptMs(key, by, nowMs) {
      const reservation = reservations.get(key);
      if (reservation === undefined) return 0;
      if (reservation.untilMs <= nowMs) {
        reservations.delete(key);
        return 0;
      }
      if (reservation.session === by.session && reservation.ticketId === by.ticketId) return 0;
      return reservation.untilMs - nowMs;
    },
    freed(key, nowMs) {
      const [first, ...rest] = (lines.get(key) ?? []).filter(({ untilMs }) => untilMs > nowMs);
      keep(key, rest);
      if (first === undefined) return;
      const { session, ticket } = first;
      reservations.set(key, { session, ticketId: ticket.id, untilMs: nowMs + RESERVATION_MS });
      call(first, 0);
      const [second] = rest;
      if (second !== undefined) call(second, RESERVATION_MS);
    },
    clear() {
      lines.clear();
      reservations.clear();
    },
    watch(session, called) {
      listeners.set(session, new Set(listeners.get(session)).add(called));
      return () => {
        const left = new Set(listeners.get(session));
        left.delete(called);
        if (left.size === 0) listeners.delete(session);
        else listeners.set(session, left);
      };
    },
  };
}
