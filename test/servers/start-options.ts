/** What every kind of server can be told. */
export interface StartOptions {
  /** Further arguments; they win over what the harness sets, where the server lets the last one win. */
  args?: readonly string[];
  /** Default: one that is free. A given port that is taken is an error. */
  port?: number;
  /** Laid over this process's environment, for instance `LD_PRELOAD`. */
  env?: Readonly<Record<string, string>>;
}

/** How long one question of the harness to its own server may take; it asks again. */
export const probeTimeoutMs = 1000;
