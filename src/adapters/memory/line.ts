/** Who hears that a ticket of a memory backend may try: each session, of its own tickets. */
import { calledBy, type KeptLine } from "../../engine/line.js";

/** Hears that a ticket may try in so many milliseconds. */
export type Called = (ticket: string, inMs: number) => void;

/** Those who listen to one backend. */
export interface Callers {
  /** Somebody with tickets, who hears of them alone. */
  open(): Caller;
  /** A key was freed, with that line: calls the first two. */
  freed(line: KeptLine | undefined): void;
}

/** One session. */
export interface Caller {
  /** What the line knows its ticket by. */
  address(ticketId: string): string;
  /** Returns how to stop. */
  watch(called: Called): () => void;
}

/** Nobody listens. */
export function createCallers(): Callers {
  const sessions = new Map<string, ReadonlySet<Called>>();
  let opened = 0;

  function call(address: string, inMs: number): void {
    const [ticketId = "", session = ""] = address.split("|");
    for (const called of sessions.get(session) ?? []) {
      // Never within the operation that frees the key.
      void Promise.resolve().then(() => called(ticketId, inMs));
    }
  }

  return {
    open() {
      const session = String(++opened);
      return {
        // The waiter comes first: it is by that name that all backends order those who began at the same time.
        address: (ticketId) => `${ticketId}|${session}`,
        watch(called) {
          sessions.set(session, new Set(sessions.get(session)).add(called));
          return () => {
            const left = new Set(sessions.get(session));
            left.delete(called);
            if (left.size === 0) sessions.delete(session);
            else sessions.set(session, left);
          };
        },
      };
    },
    freed(line) {
      for (const { id, inMs } of calledBy(line)) call(id, inMs);
    },
  };
}
