/**
 * Who waits in one session on a store that shows changes: keeps a watch on each key for which a ticket of the session
 * stands in line, and calls those whose turn has come by what the watch shows. The store itself calls nobody.
 */
import { randomBytes } from "node:crypto";
import type { Ticket } from "../../backend.js";
import { RESERVATION_MS, type KeptLine, type Reservation, type Waiter } from "../../engine/line.js";
import type { CasStore, LineSight } from "./cas-store.js";
import { createTickets } from "./tickets.js";

/** The waiters of one session. */
export interface Watcher {
  /** What stands in line for a ticket; undefined where nobody could hear of its turn. */
  ticketOf(key: string, ticket: Ticket): Waiter | undefined;
  address(ticketId: string): string;
  /** May stand in line: its key is watched from now on. */
  joined(key: string, ticket: Ticket): void;
  /** Has the lock, or waits no more. */
  left(ticketId: string): void;
  /** The reservation in that line if it was seen for its whole time, by the clock of this process. */
  over(key: string, line: KeptLine | undefined): Reservation | undefined;
  watch(listener: (ticket: string, inMs: number) => void): () => void;
  close(): void;
}

const WATCHES_MAX = 256;
/** So many keys whose reservation was seen are remembered. */
const SEEN_MAX = 1_024;
/** A longer name is nobody's of ours. */
const NAME_LENGTH_MAX = 64;
/** Watches of those who left without a word are ended as late as that. */
const SWEEP_MS = 5_000;

interface Seen {
  readonly reserved: Reservation;
  /** By the clock of this process. */
  readonly at: number;
}

interface Watch {
  readonly stop: () => void;
  /** What was called for last, so that nobody is called twice for the same. */
  called: string;
}

/** Watches nothing yet. */
export function createWatcher(
  watchKey: NonNullable<CasStore<unknown>["watch"]>,
  watchesMax: number = WATCHES_MAX,
): Watcher {
  const session = randomBytes(8).toString("hex");
  const tickets = createTickets<string>();
  const watches = new Map<string, Watch>();
  const listeners = new Set<(ticket: string, inMs: number) => void>();
  const seen = new Map<string, Seen>();
  let sweeping: NodeJS.Timeout | undefined;
  /** Whether anybody was called yet. */
  let isHeard = false;
  let closed = false;

  // The waiter comes first: it is by that name that all backends order those who began at the same time.
  const address = (ticketId: string): string => `${ticketId}|${session}`;

  function call(ticketId: string, inMs: number): void {
    isHeard = true;
    for (const listener of listeners) listener(ticketId, inMs);
  }

  function waitingFor(key: string): readonly string[] {
    return [...tickets.waiting()].flatMap(([id, at]) => (at === key ? [id] : []));
  }

  function changed(key: string, watch: Watch, { line, isFree }: LineSight): void {
    over(key, line);
    const ours = waitingFor(key);
    // Calls are believed once one was heard, and this shows that they arrive.
    if (!isHeard) for (const id of ours) call(id, 0);
    const [first] = line?.waiting ?? [];
    const turns = ours.flatMap((id) => {
      const own = address(id);
      if (line?.reserved?.id === own) return [{ id, inMs: 0 }];
      if (!isFree) return [];
      const afterTheFirst = line?.reserved === undefined ? 0 : RESERVATION_MS;
      if (first?.id === own) return [{ id, inMs: afterTheFirst }];
      // Not in line, since it was full or others were faster: behind those who are.
      if (line?.waiting.some((each) => each.id === own) !== true) return [{ id, inMs: 2 * RESERVATION_MS }];
      return [];
    });
    const called = JSON.stringify([line?.reserved?.id, line?.reserved?.until, turns]);
    if (called === watch.called) return;
    watch.called = called;
    for (const { id, inMs } of turns) call(id, inMs);
  }

  function over(key: string, line: KeptLine | undefined): Reservation | undefined {
    const reserved = line?.reserved;
    if (reserved === undefined) {
      seen.delete(key);
      return undefined;
    }
    const before = seen.get(key);
    if (before?.reserved.id === reserved.id && before.reserved.until === reserved.until) {
      return performance.now() - before.at >= RESERVATION_MS ? reserved : undefined;
    }
    if (seen.size >= SEEN_MAX) seen.clear();
    seen.set(key, { reserved, at: performance.now() });
    return undefined;
  }

  function begin(key: string): void {
    // Several may have asked while there was room for one of them; the others ask now and then.
    if (watches.has(key) || closed || watches.size >= watchesMax) return;
    const watch: Watch = { stop: watchKey(key, (sight) => changed(key, watch, sight)), called: "" };
    watches.set(key, watch);
    if (sweeping !== undefined) return;
    sweeping = setInterval(sweep, SWEEP_MS);
    // It must not keep a process alive that has nothing else to do.
    sweeping.unref();
  }

  function sweep(): void {
    const keys = new Set(tickets.waiting().values());
    for (const [key, { stop }] of watches) {
      if (keys.has(key)) continue;
      watches.delete(key);
      stop();
    }
    if (watches.size > 0) return;
    clearInterval(sweeping);
    sweeping = undefined;
  }

  return {
    ticketOf(key, { id, since, waitsMs }) {
      const isRoom = watches.has(key) || watches.size < watchesMax;
      if (listeners.size === 0 || closed || !isRoom || id.length > NAME_LENGTH_MAX) return undefined;
      return { id: address(id), since, waitsMs: Math.min(waitsMs, Number.MAX_SAFE_INTEGER / 4) };
    },
    address,
    joined(key, ticket) {
      tickets.joined(ticket, key);
      begin(key);
    },
    left(ticketId) {
      tickets.left(ticketId);
      sweep();
    },
    over,
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      closed = true;
      clearInterval(sweeping);
      listeners.clear();
      for (const { stop } of watches.values()) stop();
      watches.clear();
    },
  };
}
