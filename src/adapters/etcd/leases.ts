/**
 * The leases by which etcd forgets: one for each lock, and for the counters one for many of them. The clock of etcd, as far
 * as a session sees it, stands still at "between 0 and 1 s", and what is left of a lease is an end by that clock.
 */
import type { ClockReading } from "../../engine/record.js";
import type { EtcdLike } from "./client.js";

/** etcd tells what is left of a lease in whole seconds, rounded down. */
export const NOW: ClockReading = { atLeastMs: 0, atMostMs: 1_000 };

/** A call with its deadline, whose failure is a `BackendError`. */
export type Call = <T>(ask: (options: { readonly deadline: number }) => Promise<T>) => Promise<T>;

export interface Leases {
  /** A lease of at least so many milliseconds from now on. */
  grant(ttlMs: number): Promise<string>;
  /** Until when what hangs on a lease is there, by the clock of {@link NOW}; its key was there, so that it is not over. */
  endOf(lease: string): Promise<number>;
  /** Ends a lease that nothing hangs on any more. Not waited for: one that stays ends by itself. */
  drop(lease: string): void;
  /** A lease that lasts for at least the retention time from now on, for counters. */
  forCounter(): Promise<string>;
  /** The lease for counters is not known to the server. */
  forgetCounters(): void;
}

/** So many counters end together at most: etcd deletes them in one step. */
const COUNTERS_MAX = 1_000;
/** By how much a counter may outlive its retention, as a part of it: each process makes a lease as often. */
const REUSE = 0.05;

interface CounterLease {
  readonly lease: Promise<string>;
  readonly reuseUntil: number;
  used: number;
}

/** The leases of one session. */
export function openLeases(client: EtcdLike, call: Call, retentionMs: number): Leases {
  const reuseMs = retentionMs * REUSE;
  let counters: CounterLease | undefined;

  async function grant(ttlMs: number): Promise<string> {
    const TTL = Math.max(1, Math.ceil(ttlMs / 1_000));
    const { ID } = await call((options) => client.leaseClient.leaseGrant({ TTL }, options));
    return ID;
  }

  return {
    grant,

    async endOf(lease: string): Promise<number> {
      const { TTL } = await call((rpc) => client.leaseClient.leaseTimeToLive({ ID: lease }, rpc));
      return (Math.max(0, Number(TTL)) + 1) * 1_000;
    },

    drop(lease: string): void {
      call((options) => client.leaseClient.leaseRevoke({ ID: lease }, options)).catch(() => undefined);
    },

    forCounter(): Promise<string> {
      const now = performance.now();
      if (counters === undefined || counters.used >= COUNTERS_MAX || now > counters.reuseUntil) {
        const lease = grant(retentionMs + reuseMs);
        const made = { lease, reuseUntil: now + reuseMs, used: 0 };
        counters = made;
        lease.catch(() => {
          if (counters === made) counters = undefined;
        });
      }
      counters.used++;
      return counters.lease;
    },

    forgetCounters(): void {
      counters = undefined;
    },
  };
}
