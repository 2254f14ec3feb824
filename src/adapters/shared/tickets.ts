/** The tickets of one session that may stand in line at its backend: nobody needs to listen when there are none. */
import type { Ticket } from "../../backend.js";

/** Those who wait, by the name that they gave. */
export interface Tickets<Where> {
  /** Stands in line there, or stands there longer. */
  joined(ticket: Ticket, where: Where): void;
  /** Has the lock, or waits no more. */
  left(ticketId: string): void;
  /** Those whose wait is not over, each with where it stands. */
  waiting(): ReadonlyMap<string, Where>;
}

interface Standing<Where> {
  readonly where: Where;
  readonly until: number;
}

/** Nobody waits. */
export function createTickets<Where>(): Tickets<Where> {
  const tickets = new Map<string, Standing<Where>>();

  return {
    joined({ id, waitsMs }, where) {
      tickets.set(id, { where, until: performance.now() + waitsMs });
    },
    left(ticketId) {
      tickets.delete(ticketId);
    },
    waiting() {
      const now = performance.now();
      const waiting = new Map<string, Where>();
      for (const [id, { where, until }] of tickets) {
        // A locker that cannot reach its backend tells it of nothing, so that a wait also ends by its time.
        if (until <= now) tickets.delete(id);
        else waiting.set(id, where);
      }
      return waiting;
    },
  };
}
