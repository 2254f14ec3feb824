/**
 * Writes what happens to the lines of waiters: what each backend executed, in the order in which it did, whom it called, and
 * what the waiters made of it. Sees messages only, never the inside of a backend or a locker.
 */
import type { AcquireReply, AcquireRequest, Ticket } from "../../src/backend.js";
import type { LineRecord, WaiterRecord, WakeRecord } from "./history.js";
import type { Kernel } from "./kernel.js";
import type { SimProcess } from "./process.js";

/** One connection of one locker. */
export interface Caller {
  readonly process: SimProcess;
  /** Unique in the world; tickets are numbered by lockers. */
  readonly locker: string;
  readonly connection: string;
}

/** Of one world. */
export interface LineLog {
  /** A locker makes a request, wherever that gets to. */
  made(caller: Caller, operation: string, args: readonly unknown[]): void;
  /** The attempt of that owner won. */
  won(owner: string): void;
  /** A backend executed a request. `memory` names what it remembers by. */
  executed(
    by: { readonly caller: Caller; readonly memory: string },
    operation: string,
    args: readonly unknown[],
    value: unknown,
  ): void;
  /** An operator took a lock away. */
  forced(memory: string, key: string): void;
  /** A backend calls a ticket of that connection. */
  called(memory: string, connection: string, call: { readonly ticket: string; readonly inMs: number }): void;
  /** The locker heard of it. */
  heard(caller: Caller, call: { readonly ticket: string; readonly inMs: number }): void;
  /** No more time passes in which anything must happen. */
  end(): void;
  records(): readonly LineRecord[];
  waiters(): readonly WaiterRecord[];
  wakes(): readonly WakeRecord[];
}

interface Waiter {
  readonly record: WaiterRecord;
  readonly process: SimProcess;
  owner: string;
  /** The connections over which this attempt gave back what it got: each is called at once, which alone is no news. */
  readonly gaveBackTo: Set<string>;
  /** When it first heard in this attempt, or in the pause behind it, that it may try; by the connection. */
  readonly calledAtMs: Map<string, number>;
}

export function createLineLog(kernel: Kernel): LineLog {
  const records: LineRecord[] = [];
  const wakes: WakeRecord[] = [];
  /** By locker and ticket. */
  const waiters = new Map<string, Waiter>();
  /** The waiter of an attempt. */
  const byOwner = new Map<string, string>();
  const all: WaiterRecord[] = [];

  function wake(name: string, waiter: Waiter, atMs: number): void {
    const { process, gaveBackTo } = waiter;
    const heard = [...waiter.calledAtMs].flatMap(([by, at]) => (gaveBackTo.has(by) ? [] : [at]));
    const calledAtMs = Math.min(...heard);
    waiter.calledAtMs.clear();
    if (heard.length === 0 || process.disturbedUntilMs() >= calledAtMs) return;
    wakes.push({ waiter: name, calledAtMs, triedAtMs: atMs });
  }

  function asked(caller: Caller, { key, owner, ticket }: AcquireRequest): void {
    if (ticket === undefined) return;
    const name = `${caller.locker} ${ticket.id}`;
    const atMs = caller.process.atMs();
    const known = waiters.get(name);
    byOwner.set(owner, name);
    if (known === undefined) {
      const record: WaiterRecord = {
        name,
        key,
        since: ticket.since,
        askedAtMs: atMs,
        stoodAtMs: new Map(),
        owners: [owner],
        goneAtMs: Number.POSITIVE_INFINITY,
      };
      all.push(record);
      waiters.set(name, {
        record,
        process: caller.process,
        owner,
        gaveBackTo: new Set(),
        calledAtMs: new Map(),
      });
    } else if (known.owner !== owner) {
      known.owner = owner;
      known.record.owners.push(owner);
      wake(name, known, atMs);
      known.gaveBackTo.clear();
    }
  }

  function gone(name: string): void {
    const waiter = waiters.get(name);
    if (waiter === undefined) return;
    const atMs = waiter.process.atMs();
    wake(name, waiter, atMs);
    waiter.record.goneAtMs = atMs;
    waiters.delete(name);
  }

  return {
    made(caller: Caller, operation: string, args: readonly unknown[]): void {
      if (operation === "acquire") asked(caller, args[0] as AcquireRequest);
      else if (operation === "leave") {
        gone(`${caller.locker} ${String(args[1])}`);
      }
    },

    won(owner: string): void {
      const name = byOwner.get(owner);
      if (name !== undefined) gone(name);
    },

    executed({ caller, memory }, operation, args, value): void {
      const atMs = kernel.nowMs;
      switch (operation) {
        case "acquire": {
          const { key, ticket } = args[0] as AcquireRequest;
          const { kind } = value as AcquireReply;
          if (kind === "quarantined") return;
          const [remainingMs, reserved] = kind === "held" ? heldFor(value as AcquireReply) : NOT_HELD;
          const answer = reserved ? "reserved" : kind;
          if (ticket === undefined) {
            if (answer === "held") return;
            // Of those who do not stand in line only what the line kept them from, or did not, is of interest.
            records.push({
              atMs,
              memory,
              kind: "asked",
              key,
              who: undefined,
              since: 0n,
              waitsMs: 0,
              answer,
              remainingMs,
            });
            return;
          }
          const { id, since, waitsMs } = ticket;
          const who = `${caller.connection} ${id}`;
          if (kind === "held") {
            const stood = waiters.get(`${caller.locker} ${id}`)?.record.stoodAtMs;
            if (stood?.has(memory) === false) stood.set(memory, atMs);
          }
          records.push({ atMs, memory, kind: "asked", key, who, since, waitsMs, answer, remainingMs });
          return;
        }
        case "release":
          if (value === "released") {
            const [key, , ticket] = args as readonly [string, string, Ticket?];
            records.push({ atMs, memory, kind: "freed", key, ...backIn(caller, ticket) });
            if (ticket !== undefined)
              waiters.get(`${caller.locker} ${ticket.id}`)?.gaveBackTo.add(caller.connection);
          }
          return;
        case "forceRelease":
          if (value === true) records.push({ atMs, memory, kind: "freed", key: args[0] as string });
          return;
        case "leave": {
          const [key, ticket] = args as readonly [string, string];
          records.push({ atMs, memory, kind: "left", key, who: `${caller.connection} ${ticket}` });
          return;
        }
        case "extend":
          if ((value as { readonly kind: string }).kind !== "recreated") return;
          records.push({ atMs, memory, kind: "recreated", key: (args[0] as { readonly key: string }).key });
      }
    },

    forced(memory: string, key: string): void {
      records.push({ atMs: kernel.nowMs, memory, kind: "freed", key });
    },

    called(memory: string, connection: string, { ticket, inMs }): void {
      records.push({ atMs: kernel.nowMs, memory, kind: "called", who: `${connection} ${ticket}`, inMs });
    },

    heard(caller: Caller, { ticket, inMs }): void {
      const waiter = waiters.get(`${caller.locker} ${ticket}`);
      if (waiter === undefined || inMs !== 0 || waiter.calledAtMs.has(caller.connection)) return;
      waiter.calledAtMs.set(caller.connection, caller.process.atMs());
    },

    end(): void {
      for (const [name, waiter] of waiters) {
        if (!waiter.process.hasCrashed()) wake(name, waiter, kernel.nowMs);
        else waiter.record.goneAtMs = Math.min(waiter.record.goneAtMs, 0);
      }
      waiters.clear();
    },

    records: () => records,
    waiters: () => all,
    wakes: () => wakes,
  };
}

function backIn(caller: Caller, ticket: Ticket | undefined): Partial<Extract<LineRecord, { kind: "freed" }>> {
  if (ticket === undefined) return {};
  const { id, since, waitsMs } = ticket;
  return { back: { who: `${caller.connection} ${id}`, since, waitsMs } };
}

const NOT_HELD = [0, false] as const;

function heldFor(reply: AcquireReply): readonly [remainingMs: number, reserved: boolean] {
  return reply.kind === "held" ? [reply.remainingMs ?? 0, reply.reserved === true] : NOT_HELD;
}
