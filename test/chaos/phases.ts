/** The phases of a run: which faults, how many at once, and what must hold under them. */
import type { FaultName } from "./faults.ts";

export interface Phase {
  readonly name: string;
  readonly what: string;
  /** One named twice is drawn twice as often. */
  readonly faults: readonly FaultName[];
  readonly lanes: number;
  /** Whether wall clocks of servers are set, which breaks the assumption on which exclusion rests. */
  readonly setsServerClocks: boolean;
}

const KILLS: readonly FaultName[] = [
  "server killed, back empty",
  "server killed, back empty",
  "server killed, back with its memory",
  "all servers but one killed, back empty",
];
const FREEZES: readonly FaultName[] = ["server frozen", "server frozen", "no quorum: servers frozen"];
const NETWORK: readonly FaultName[] = [
  "link half-open",
  "client cut off",
  "server cut off",
  "connections reset",
  "latency and jitter",
];
const CLIENTS: readonly FaultName[] = [
  "client stopped",
  "client stopped",
  "client stopped",
  "client killed and replaced",
];

/** All of them, in the order in which a run takes them. */
export const PHASES: readonly Phase[] = [
  {
    name: "kills",
    what: "kill -9, and restarts with and without memory",
    faults: KILLS,
    lanes: 1,
    setsServerClocks: false,
  },
  {
    name: "freezes",
    what: "SIGSTOP of servers, also of so many that no quorum is left",
    faults: FREEZES,
    lanes: 1,
    setsServerClocks: false,
  },
  {
    name: "network",
    what: "half-open and cut links, in one direction too, resets, latency and jitter",
    faults: NETWORK,
    lanes: 2,
    setsServerClocks: false,
  },
  {
    name: "clients",
    what: "SIGSTOP of clients beyond the TTL, kill -9, wall clocks that jump by up to an hour",
    // Nothing is forgotten here, so clocks of clients may be wrong as they like.
    faults: [...CLIENTS, "client clock jumped"],
    lanes: 2,
    setsServerClocks: false,
  },
  {
    name: "mixed",
    what: "all of these, several at once",
    faults: [...KILLS, ...FREEZES, ...NETWORK, ...CLIENTS, "client clock jumped within the skew"],
    lanes: 3,
    setsServerClocks: false,
  },
  {
    name: "server-clocks",
    what: "wall clocks of servers that jump by up to a minute: outside the assumptions, so exclusion is only counted",
    faults: [
      "server clock jumped",
      "server clock jumped",
      "server clock jumped",
      "client stopped",
      "link half-open",
    ],
    lanes: 2,
    setsServerClocks: true,
  },
];
