/** The kinds of worlds, and what is promised in each. */
import type { FaultKind, Weights } from "./faults.js";
import type { Promised } from "./history.js";

/** One kind of world. What is left out is drawn by the seed. */
export interface Profile {
  /** What it is about, for people. */
  readonly what: string;
  /** What is not promised here, since an assumption is broken; counted instead of failing. Empty inside the assumptions. */
  readonly notPromised: readonly Promised[];
  /** Which assumption is broken; undefined inside of them. */
  readonly broken?: string;
  readonly n?: number;
  /** Default: the majority, or now and then more. "larger": large enough for forgetful backends without a quarantine. */
  readonly quorum?: "larger";
  readonly guard?: "strict" | "auto" | "off";
  /** Wall clocks of clients jump anywhere. */
  readonly madClocks?: boolean;
  /** Now and then the clock of a backend leaps ahead by up to the longest TTL, at one look in so many. */
  readonly leapChance?: number;
  readonly clients?: number;
  readonly keys?: number;
  /** Wall clocks differ by up to half of this in each direction; also the locker's option. Default 40. */
  readonly clockSkewMs?: number;
  /** The option of the lockers. */
  readonly driftPpm?: number;
  /** How far the rates of clocks really are off, in terms of the option. Default 1. */
  readonly driftFactor?: number;
  /** How far wall clocks really are off, in terms of the option. Default 1. */
  readonly skewFactor?: number;
  readonly durationMs?: number;
  readonly faults: Weights;
  /** The mean pause between two faults in milliseconds. */
  readonly paceMs?: number;
  readonly tailMs?: number;
  /** The slowest ordinary hop. Default: 1 to 8, as the seed says. */
  readonly hopMsMax?: number;
  /** Faults begin at once, while a new deployment is being started. */
  readonly fromTheStart?: boolean;
  /** How many of the leases are used to the last moment of their validity, from 0 to 1. Default 0.1. */
  readonly usedUp?: number;
  /** How many of the others are kept alive. Default 0.5. */
  readonly kept?: number;
  /** TTLs in milliseconds; the largest is also the locker's option. Default 60 to 400. */
  readonly ttlMs?: readonly [min: number, max: number];
  /** How often a holder extends by itself between two steps. Default 0.2. */
  readonly extends?: number;
  /** The longest pause of a worker between two leases. Default 20. */
  readonly idleMs?: number;
  /** The pauses between two attempts. Default: as the seed says. */
  readonly retryDelayMs?: readonly [min: number, max: number];
  /** "graceful": all stop, give back, and no lock may be left. "last": then a newcomer must get every key. */
  readonly ending: "graceful" | "last" | "none";
  /** Messages of one connection never overtake one another. Default: as the seed says. */
  readonly inOrder?: boolean;
}

/** Losses of memory. */
const LOSSES: readonly FaultKind[] = ["forget", "restart"];

function without(kinds: readonly FaultKind[]): Weights {
  return Object.fromEntries(kinds.map((kind) => [kind, 0]));
}

const NO_LOSSES = without(LOSSES);

/** Only these. */
function only(weights: Weights): Weights {
  return { ...ALL_OFF, ...weights };
}

const ALL_OFF = without([
  ...(["delay", "late", "lossy", "duplicate", "cut", "cut requests", "cut replies", "half-open"] as const),
  ...(["reset", "partition", "down", "freeze", "slow", "refuse", "restart", "forget", "failover"] as const),
  ...(["amnesia", "stall", "suspend", "pause", "unseen pause", "jump", "replace", "close"] as const),
  "force release",
]);

const INSIDE = { notPromised: [], ending: "last" } as const;

/** Worlds in which everything promised must hold. */
export const INSIDE_PROFILES = {
  strict: { ...INSIDE, what: 'restartGuard "strict", memory lost at any time', guard: "strict", faults: {} },
  auto: {
    ...INSIDE,
    what: 'restartGuard "auto", memory lost within its assumption',
    guard: "auto",
    faults: {},
  },
  fresh: {
    ...INSIDE,
    what: "new deployments that lose memory while they start",
    guard: "auto",
    fromTheStart: true,
    durationMs: 450,
    paceMs: 20,
    tailMs: 300,
    ending: "none",
    faults: only({ forget: 4, delay: 4, replace: 3, lossy: 1, duplicate: 2, cut: 1 }),
  },
  failover: {
    ...INSIDE,
    what: "replicas take over, and old primaries return with their memory",
    faults: { failover: 5, forget: 1 },
  },
  clocks: {
    ...INSIDE,
    what: "no memory lost; wall clocks of clients jump anywhere",
    madClocks: true,
    faults: { ...NO_LOSSES, jump: 4 },
  },
  bounds: {
    ...INSIDE,
    what: "clocks at their bounds, leases used to the last moment",
    n: 3,
    keys: 1,
    clients: 4,
    driftPpm: 50_000,
    usedUp: 0.8,
    ending: "none",
    faults: only({ delay: 2, reset: 1, pause: 1, slow: 1 }),
  },
  delays: {
    ...INSIDE,
    what: "long delays, stalls and pauses between a request and its answer",
    tailMs: 500,
    extends: 0.6,
    faults: { ...NO_LOSSES, delay: 6, late: 3, "cut replies": 3, pause: 4, freeze: 4 },
  },
  memory: {
    ...INSIDE,
    what: "adversarial losses of memory, leases of the longest TTL used to the last moment",
    n: 3,
    keys: 1,
    clients: 3,
    guard: "strict",
    usedUp: 0.8,
    ttlMs: [400, 400],
    paceMs: 25,
    ending: "none",
    faults: only({ forget: 3, reset: 1, delay: 1, lossy: 1 }),
  },
  skew: {
    ...INSIDE,
    what: "memory lost, wall clocks that differ by nearly a TTL",
    n: 3,
    keys: 1,
    guard: "strict",
    clockSkewMs: 390,
    usedUp: 0.5,
    durationMs: 2_600,
    paceMs: 90,
    retryDelayMs: [30, 200],
    ending: "none",
    faults: only({ forget: 4, reset: 1, delay: 1, replace: 1 }),
  },
  healing: {
    ...INSIDE,
    what: "lossy acquires, long holds, adversarial losses of memory",
    n: 3,
    keys: 1,
    clients: 2,
    guard: "strict",
    kept: 1,
    usedUp: 0,
    ttlMs: [300, 400],
    paceMs: 30,
    durationMs: 1_000,
    ending: "none",
    faults: only({ forget: 3, lossy: 4, cut: 2, suspend: 1 }),
  },
  quorum: {
    ...INSIDE,
    what: 'a larger quorum instead of a quarantine (restartGuard "off"), and so many forgetful backends',
    quorum: "larger",
    guard: "off",
    faults: { restart: 0 },
  },
  force: {
    ...INSIDE,
    what: "an operator deletes locks under their holders",
    faults: { ...NO_LOSSES, "force release": 3 },
    kept: 1,
  },
  graceful: {
    ...INSIDE,
    what: "long leases given back; no lock may be left",
    inOrder: true,
    ttlMs: [5_000, 10_000],
    ending: "graceful",
    faults: {
      ...NO_LOSSES,
      ...without(["lossy", "duplicate", "half-open", "replace", "close", "down"]),
      late: 3,
    },
  },
} as const satisfies Readonly<Record<string, Profile>>;

const OUTSIDE = { ending: "none" } as const;

/** Worlds with a broken assumption: what is then not promised is counted. */
export const OUTSIDE_PROFILES = {
  expiry: {
    ...OUTSIDE,
    what: "locks end at any moment: the clocks of backends leap ahead",
    broken: "A1",
    notPromised: ["exclusion", "order"],
    madClocks: true,
    leapChance: 0.05,
    faults: { ...NO_LOSSES, jump: 3, duplicate: 4, delay: 6 },
  },
  drift: {
    ...OUTSIDE,
    what: "clocks that run three times as wrong as configured",
    broken: "A1",
    notPromised: ["exclusion", "order"],
    driftPpm: 50_000,
    driftFactor: 3,
    usedUp: 0.6,
    faults: NO_LOSSES,
  },
  frozen: {
    ...OUTSIDE,
    what: "clients stopped from outside, none of their clocks running",
    broken: "A1",
    notPromised: ["exclusion", "order", "no resurrection", "loss signal"],
    faults: { ...NO_LOSSES, "unseen pause": 4 },
  },
  amnesia: {
    ...OUTSIDE,
    what: 'everything forgotten at one instant under restartGuard "auto", some clients new',
    broken: "A5",
    notPromised: ["exclusion", "no resurrection"],
    guard: "auto",
    faults: only({ amnesia: 1, replace: 2, delay: 2, pause: 1 }),
  },
  skewed: {
    ...OUTSIDE,
    what: "memory lost, wall clocks that differ by three times as much as configured",
    broken: "A4",
    notPromised: ["order", "stale writes"],
    guard: "strict",
    clockSkewMs: 390,
    skewFactor: 3,
    faults: { forget: 6 },
  },
} as const satisfies Readonly<Record<string, Profile>>;

/** The name of a profile. */
export type ProfileName = keyof typeof INSIDE_PROFILES | keyof typeof OUTSIDE_PROFILES;

/** Every profile by name. */
export const PROFILES: Readonly<Record<ProfileName, Profile>> = { ...INSIDE_PROFILES, ...OUTSIDE_PROFILES };

/** The names of those inside the assumptions. */
export const INSIDE_NAMES: readonly ProfileName[] = Object.keys(INSIDE_PROFILES) as ProfileName[];

/** The names of those outside. */
export const OUTSIDE_NAMES: readonly ProfileName[] = Object.keys(OUTSIDE_PROFILES) as ProfileName[];
