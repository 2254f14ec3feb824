/** What a client process is told: at its start, and on its socket. */

/** Ways of breaking what is under test, to prove that the verdict sees it. */
export const PLANTS = {
  minority: "every client locks on one backend only, and not all on the same one",
  "deaf-guard": "the resources take every write",
  "restart-guard-off": "backends that forgot vote at once",
  "late-signal": "losses are noticed 300 ms late",
} as const;

export type Plant = keyof typeof PLANTS;

/** All that a client needs; it is JSON. */
export interface ClientTask {
  readonly name: string;
  readonly index: number;
  readonly seed: number;
  /** Where it writes its history. */
  readonly history: string;
  /** The port of its orders. */
  readonly control: number;
  /** One address for each backend, its own way there. */
  readonly links: readonly { readonly kind: string; readonly name: string; readonly port: number }[];
  readonly locker: {
    readonly quorum: number;
    readonly maxTtlMs: number;
    readonly clockSkewMs: number;
    readonly retryDelayMsMax: number;
  };
  readonly keys: readonly string[];
  readonly ttlMs: { readonly min: number; readonly max: number };
  /** The longest pause after each write under a lease. */
  readonly holdMs: number;
  /** The longest pause between two leases of a worker. */
  readonly idleMs: number;
  readonly resources: { readonly postgresUrl: string; readonly redisPort: number };
  readonly plant: Plant | undefined;
}

/** A line to a running client. */
export type ClientOrders = { readonly wallOffsetMs: number } | { readonly stop: true };
