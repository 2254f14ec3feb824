/**
 * Everything that can go wrong, with its knobs in one place. The faults of a world are a list of plain data, drawn before
 * the world begins, so that a failing list can be cut down and still means the same.
 */
import type { Dice } from "./kernel.js";

/** What goes wrong. */
export type FaultKind = keyof typeof KNOBS;

/**
 * From the least to the most. Amounts are drawn uniformly; how long something lasts by its logarithm, so that most faults are
 * short, some last as long as they may, and a world is not standing still most of its time.
 */
type Range = readonly [min: number, max: number];

interface Knobs {
  /** What it does. */
  readonly what: string;
  readonly of: "path" | "backend" | "client" | "deployment";
  /** How often it is drawn beside the others, unless the profile says otherwise. */
  readonly weight: number;
  /** How much: a delay, a jump, a pause, in milliseconds. */
  readonly ms?: Range;
  /** For how long, in milliseconds. */
  readonly forMs?: Range;
  /** How often, from 0 to 1. */
  readonly rate?: Range;
}

/** A path is the network between one client and one backend. */
export const KNOBS = {
  delay: {
    what: "messages of a path take longer, and overtake one another",
    of: "path",
    weight: 3,
    ms: [5, 150],
    forMs: [20, 150],
  },
  late: {
    what: "requests of a path arrive long after the client gave up",
    of: "path",
    weight: 1,
    ms: [100, 500],
    forMs: [5, 120],
  },
  lossy: {
    what: "requests and replies of a path get lost",
    of: "path",
    weight: 2,
    rate: [0, 0.5],
    forMs: [20, 200],
  },
  duplicate: {
    what: "requests of a path are executed twice",
    of: "path",
    weight: 2,
    rate: [0.1, 0.7],
    ms: [1, 200],
    forMs: [20, 300],
  },
  cut: {
    what: "a path carries nothing; what was sent arrives when it is whole again",
    of: "path",
    weight: 2,
    forMs: [10, 150],
  },
  "cut requests": { what: "a path carries replies only", of: "path", weight: 1, forMs: [10, 150] },
  "cut replies": { what: "a path carries requests only", of: "path", weight: 1, forMs: [10, 150] },
  "half-open": {
    what: "a connection is dead and its client does not know",
    of: "path",
    weight: 1,
    forMs: [20, 150],
  },
  reset: { what: "the connections of a path break", of: "path", weight: 1 },
  partition: { what: "a client is cut off from a majority", of: "client", weight: 1, forMs: [10, 150] },
  down: {
    what: "a backend cannot be reached, and comes back as it was",
    of: "backend",
    weight: 1,
    forMs: [5, 100],
  },
  freeze: {
    what: "a backend's process is stopped; requests wait in it",
    of: "backend",
    weight: 2,
    forMs: [10, 150],
  },
  slow: {
    what: "a backend takes long for each request",
    of: "backend",
    weight: 1,
    ms: [1, 20],
    forMs: [20, 150],
  },
  refuse: {
    what: "a backend answers every request with an error",
    of: "backend",
    weight: 1,
    forMs: [10, 100],
  },
  restart: {
    what: "a backend crashes and starts again with its memory",
    of: "backend",
    weight: 0.5,
    forMs: [0, 40],
  },
  forget: { what: "a backend crashes and starts again empty", of: "backend", weight: 1.5, forMs: [0, 40] },
  "forget granted": {
    what: "the same, just after it granted something and its client knows",
    of: "backend",
    weight: 0,
    ms: [0, 20],
    forMs: [0, 5],
  },
  "forget split": {
    what: "the same, just after it granted what another backend refused",
    of: "backend",
    weight: 0,
    ms: [0, 20],
    forMs: [0, 5],
  },
  failover: {
    what: "an empty replica takes over; later the old primary is back with its memory",
    of: "backend",
    weight: 0,
    forMs: [50, 900],
  },
  amnesia: {
    what: "all backends start again empty at once",
    of: "deployment",
    weight: 0,
    ms: [0, 0],
    forMs: [1, 20],
  },
  stall: { what: "the event loop of a client is busy", of: "client", weight: 2, forMs: [5, 300] },
  suspend: { what: "the machine of a client sleeps", of: "client", weight: 2, forMs: [5, 300] },
  pause: {
    what: "a client stops in the middle of code, behind a look at a clock",
    of: "client",
    weight: 3,
    ms: [5, 300],
    rate: [0, 1],
  },
  "unseen pause": {
    what: "a client stops and none of its clocks runs meanwhile",
    of: "client",
    weight: 0,
    forMs: [5, 300],
  },
  jump: { what: "the wall clock of a client is set", of: "client", weight: 1, ms: [-100_000, 100_000] },
  replace: { what: "a client is killed and another one started", of: "client", weight: 1 },
  close: { what: "a locker of a client is closed and a new one made", of: "client", weight: 1 },
  "force release": { what: "an operator deletes a lock on all backends", of: "deployment", weight: 0 },
} as const satisfies Readonly<Record<string, Knobs>>;

const TABLE: Readonly<Record<FaultKind, Knobs>> = KNOBS;

/** Every kind of fault. */
export const FAULT_KINDS: readonly FaultKind[] = Object.keys(KNOBS) as FaultKind[];

/** One fault. Fields that mean nothing to its kind are 0. */
export interface Fault {
  readonly kind: FaultKind;
  /** True time. */
  readonly atMs: number;
  /** Of the clients that live then; counted round. */
  readonly client: number;
  /** Of the backends; counted round. */
  readonly backend: number;
  readonly ms: number;
  readonly forMs: number;
  readonly rate: number;
}

/** How often each kind is drawn; kinds that are missing never are. */
export type Weights = { readonly [Kind in FaultKind]?: number };

/** The weights of {@link KNOBS}, with changes. */
export function weights(changes: Weights = {}, without: readonly FaultKind[] = []): Weights {
  const all: Record<string, number> = {};
  for (const kind of FAULT_KINDS) {
    const weight = changes[kind] ?? TABLE[kind].weight;
    if (weight > 0 && !without.includes(kind)) all[kind] = weight;
  }
  return all;
}

/** What a list of faults is drawn from. */
export interface FaultPlan {
  readonly weights: Weights;
  readonly fromMs: number;
  readonly untilMs: number;
  /** The mean pause between two faults. */
  readonly paceMs: number;
  /** Replaces the largest `ms` of the delay fault. */
  readonly tailMs?: number;
  /** The same of the duplicate fault. */
  readonly duplicateMs?: number;
  /** How long faults last is drawn uniformly too, so that long ones are as frequent as short ones. */
  readonly long?: boolean;
}

/** Weights by the list of kinds and their sum; drawing from them is what a plan takes longest for. */
const known = new WeakMap<Weights, readonly [kinds: [FaultKind, number][], sum: number]>();

function kindsOf(weights: Weights): readonly [kinds: [FaultKind, number][], sum: number] {
  const before = known.get(weights);
  if (before !== undefined) return before;
  const kinds = Object.entries(weights) as [FaultKind, number][];
  const made = [kinds, kinds.reduce((total, [, weight]) => total + weight, 0)] as const;
  known.set(weights, made);
  return made;
}

/** A list of faults in the order of time. */
export function drawFaults(dice: Dice, plan: FaultPlan): readonly Fault[] {
  const [kinds, sum] = kindsOf(plan.weights);
  const faults: Fault[] = [];
  if (sum === 0) return faults;
  const drawn = (range: Range | undefined): number => (range === undefined ? 0 : dice.between(...range));
  const lasting = (range: Range | undefined): number => {
    if (range === undefined || range[0] <= 0 || plan.long === true) return drawn(range);
    const [min, max] = range;
    return min * (max / min) ** dice.random();
  };
  let atMs = plan.fromMs;
  for (;;) {
    atMs += dice.between(0, 2 * plan.paceMs);
    if (atMs >= plan.untilMs) return faults;
    let at = dice.random() * sum;
    const kind = kinds.find(([, weight]) => (at -= weight) < 0)?.[0] ?? "delay";
    const { ms, forMs, rate } = TABLE[kind];
    faults.push({
      kind,
      atMs,
      client: dice.whole(0, 1_000),
      backend: dice.whole(0, 1_000),
      ms: kind === "pause" ? lasting(ms) : drawn(longest(kind, plan) ?? ms),
      forMs: lasting(forMs),
      rate: drawn(rate),
    });
  }
}

function longest(kind: FaultKind, { tailMs, duplicateMs }: FaultPlan): Range | undefined {
  if (kind === "delay" && tailMs !== undefined) return [5, tailMs];
  return kind === "duplicate" && duplicateMs !== undefined ? [1, duplicateMs] : undefined;
}

/** One line for people. */
export function faultText(fault: Fault): string {
  const { of } = TABLE[fault.kind];
  const parts = [`${fault.atMs.toFixed(1)} ms`, fault.kind];
  if (of !== "deployment") parts.push(of === "backend" ? "" : `client #${fault.client}`);
  if (of === "path" || of === "backend") parts.push(`backend #${fault.backend}`);
  if (fault.ms !== 0) parts.push(`${fault.ms.toFixed(1)} ms`);
  if (fault.forMs !== 0) parts.push(`for ${fault.forMs.toFixed(1)} ms`);
  if (fault.rate !== 0) parts.push(`rate ${fault.rate.toFixed(2)}`);
  return parts.filter((part) => part !== "").join(", ");
}
