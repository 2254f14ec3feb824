/** The kinds of worlds, and what is promised in each. */
import type { FaultKind, Weights } from "./faults.js";
import type { Promised } from "./history.js";
import type { Adversity } from "./network.js";

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
  readonly quorum?: "larger" | "majority";
  readonly guard?: "strict" | "auto" | "off";
  /** Wall clocks of clients jump anywhere. */
  readonly madClocks?: boolean;
  /** Of how many clients, if not of all. */
  readonly madClients?: number;
  /** Now and then the clock of a backend leaps ahead by up to the longest TTL, at one look in so many. */
  readonly leapChance?: number;
  /** What the network does to requests of one operation. */
  readonly adversity?: Readonly<Record<string, Adversity>>;
  /** Requests outlive the death of their server, as behind a proxy or with a driver that sends them again. */
  readonly resent?: boolean;
  /** All wall clocks move on in steps of so much only, so that proposals hardly differ. */
  readonly wallStepMs?: number;
  readonly clients?: number;
  readonly keys?: number;
  /** Wall clocks differ by up to half of this in each direction; also the locker's option. Default 20. */
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
  /** The slowest ordinary hop. Default: 1 to 5, as the seed says. */
  readonly hopMsMax?: number;
  /** Long faults are as frequent as short ones. */
  readonly longFaults?: boolean;
  /** How many of the worlds begin with a deployment that is in service, from 0 to 1. Default 0.8; never {@link Profile.fromTheStart}. */
  readonly founded?: number;
  /** Faults begin at once, while a new deployment is being started. */
  readonly fromTheStart?: boolean;
  /** How many of the leases are used to the last moment of their validity, from 0 to 1. Default 0.1. */
  readonly usedUp?: number;
  /** How many of the others are kept alive. Default 0.5. */
  readonly kept?: number;
  /** The TTL of all leases of the first client, of the second, and so on, round. */
  readonly ttlMsByClient?: readonly number[];
  /** TTLs in milliseconds; the largest is also the locker's option. Default 60 to 200. */
  readonly ttlMs?: readonly [min: number, max: number];
  /** How often a holder extends by itself between two steps. Default 0.2. */
  readonly extends?: number;
  /** How often a holder pauses between two uses of its lease. Default: up to four times, or not at all. */
  readonly steps?: readonly number[];
  /** The longest pause of a holder between two uses of its lease. Default 10. */
  readonly stepMs?: number;
  /** The longest pause of a worker between two leases. Default 4. */
  readonly idleMs?: number;
  /** The same after it was refused. Default 180. */
  readonly refusedIdleMs?: number;
  /** How often a worker that was refused comes back for the same key when the lock or the quarantine is said to end. Default 0.5. */
  readonly patient?: number;
  /** Replaces the longest time between a request and its duplicate. */
  readonly duplicateMs?: number;
  /** The pauses between two attempts. Default: as the seed says. */
  readonly retryDelayMs?: readonly [min: number, max: number];
  /** "graceful": all stop, give back, and no lock may be left. "last": then a newcomer must get every key. */
  readonly ending: "graceful" | "last" | "none";
  /** Messages of one connection never overtake one another. Default: as the seed says. */
  readonly inOrder?: boolean;
  /** Whether backends call those who wait; not every store can. Default: as the seed says. */
  readonly calls?: boolean;
  /** The backends are stores of different kinds: with coarse clocks and fine ones, durable or not, calling or not. */
  readonly mixed?: boolean;
  /** Nothing goes wrong that could cost a waiter its turn, so that turns are judged. */
  readonly calm?: boolean;
  /** The last backend is down, or stopped, from when workers begin until the faults end. */
  readonly absent?: boolean;
  /** The longest that a key may be nobody's while somebody waits for it, in milliseconds. Default: that is not judged. */
  readonly idleMsMax?: number;
  /** How long workers wait. Default: up to 80 ms, now and then up to 400. */
  readonly waitMs?: readonly [min: number, max: number];
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

/** Of worlds in which many leases are taken, rather than few of them looked at closely. */
const QUICK = { steps: [0, 0, 0, 1, 1, 1, 3], stepMs: 16, extends: 0.3 } as const;

const INSIDE = { notPromised: [], ending: "last" } as const;

/** Worlds in which everything promised must hold. */
export const INSIDE_PROFILES = {
  strict: {
    ...INSIDE,
    ...QUICK,
    what: 'restartGuard "strict", memory lost at any time',
    guard: "strict",
    durationMs: 400,
    paceMs: 18.8,
    keys: 4,
    faults: {},
  },
  auto: {
    ...INSIDE,
    ...QUICK,
    what: 'restartGuard "auto", memory lost within its assumption',
    guard: "auto",
    durationMs: 390,
    paceMs: 18,
    keys: 4,
    faults: {},
  },
  fresh: {
    ...INSIDE,
    retryDelayMs: [20, 120],
    what: "new deployments that lose memory while they start",
    guard: "auto",
    n: 3,
    keys: 1,
    clients: 3,
    fromTheStart: true,
    durationMs: 240,
    paceMs: 10,
    tailMs: 300,
    ending: "none",
    refusedIdleMs: 150,
    waitMs: [0, 50],
    patient: 0.8,
    faults: only({ forget: 5, delay: 4, replace: 3, lossy: 1, duplicate: 1 }),
  },
  failover: {
    ...INSIDE,
    retryDelayMs: [20, 120],
    what: "replicas take over, and old primaries return with their memory",
    n: 3,
    keys: 1,
    guard: "strict",
    clients: 3,
    ttlMs: [80, 150],
    usedUp: 0.25,
    durationMs: 580,
    paceMs: 27.5,
    ending: "none",
    refusedIdleMs: 150,
    faults: only({ failover: 4, delay: 2, reset: 2, stall: 1, cut: 1 }),
  },
  clocks: {
    ...INSIDE,
    ...QUICK,
    what: "no memory lost; wall clocks of clients jump anywhere",
    madClocks: true,
    durationMs: 380,
    paceMs: 17.8,
    keys: 4,
    faults: { ...NO_LOSSES, jump: 4 },
  },
  bounds: {
    ...INSIDE,
    what: "clocks at their bounds, leases used to the last moment",
    n: 3,
    keys: 2,
    clients: 3,
    driftPpm: 50_000,
    usedUp: 0.85,
    ttlMs: [150, 150],
    calls: false,
    ending: "none",
    durationMs: 350,
    paceMs: 16.5,
    retryDelayMs: [5, 30],
    founded: 1,
    hopMsMax: 2,
    patient: 0.8,
    waitMs: [0, 80],
    faults: only({ delay: 2, reset: 1, pause: 1, slow: 1 }),
  },
  delays: {
    ...INSIDE,
    what: "long delays, duplicates, stalls and pauses between a request and its answer",
    longFaults: true,
    n: 3,
    keys: 2,
    clients: 3,
    tailMs: 500,
    extends: 0.8,
    durationMs: 300,
    ending: "none",
    paceMs: 12,
    kept: 0.7,
    stepMs: 30,
    ttlMs: [60, 120],
    founded: 1,
    waitMs: [0, 50],
    patient: 0.8,
    faults: { ...NO_LOSSES, delay: 6, late: 3, duplicate: 5, "cut replies": 3, pause: 4, freeze: 3 },
  },
  memory: {
    ...INSIDE,
    retryDelayMs: [20, 120],
    what: "adversarial losses of memory, leases of the longest TTL used to the last moment",
    n: 3,
    keys: 1,
    clients: 3,
    guard: "strict",
    usedUp: 0.6,
    ttlMs: [150, 150],
    clockSkewMs: 4,
    durationMs: 560,
    paceMs: 27,
    ending: "none",
    refusedIdleMs: 150,
    faults: only({ forget: 3, reset: 1, delay: 1, lossy: 1 }),
  },
  order: {
    ...INSIDE,
    retryDelayMs: [20, 120],
    what: "many losses of memory and short leases, so that only proposals keep the order of tokens",
    n: 3,
    keys: 2,
    clients: 2,
    guard: "strict",
    ttlMs: [60, 150],
    usedUp: 0.05,
    durationMs: 620,
    paceMs: 29.5,
    ending: "none",
    refusedIdleMs: 200,
    waitMs: [0, 15],
    patient: 0.9,
    faults: only({ forget: 6, reset: 1, delay: 1, replace: 1 }),
  },
  skew: {
    ...INSIDE,
    retryDelayMs: [20, 120],
    what: "memory lost, wall clocks of backends that differ by nearly a TTL, those of clients by anything",
    n: 3,
    keys: 1,
    clients: 3,
    guard: "strict",
    ttlMs: [60, 100],
    clockSkewMs: 98,
    driftPpm: 5_000,
    madClocks: true,
    durationMs: 420,
    paceMs: 19.5,
    ending: "none",
    refusedIdleMs: 150,
    faults: only({ forget: 4, jump: 4, reset: 1 }),
  },
  healing: {
    ...INSIDE,
    what: "requests that arrive late or not at all, long attempts beside short leases, losses of memory",
    n: 3,
    keys: 2,
    clients: 3,
    guard: "strict",
    kept: 1,
    usedUp: 0,
    extends: 0.6,
    stepMs: 45,
    ttlMs: [60, 600],
    clockSkewMs: 4,
    paceMs: 14,
    durationMs: 330,
    inOrder: false,
    ending: "none",
    founded: 1,
    waitMs: [0, 50],
    patient: 0.8,
    faults: only({ forget: 2, delay: 5, "cut requests": 5, lossy: 1 }),
  },
  mending: {
    ...INSIDE,
    what: "memory lost just after a grant, extensions that do not arrive everywhere, long attempts beside short leases",
    guard: "strict",
    n: 3,
    keys: 1,
    clients: 2,
    // More than a request can be late, so that all backends mint what was proposed.
    clockSkewMs: 400,
    kept: 1,
    usedUp: 0,
    extends: 0.2,
    stepMs: 60,
    ttlMs: [80, 600],
    ttlMsByClient: [80, 600],
    adversity: {
      acquire: { hopMsMin: 75, hopMsMax: 115, onePath: true },
      extend: { lost: 1, onePath: true },
    },
    hopMsMax: 3,
    inOrder: false,
    calls: false,
    retryDelayMs: [2, 20],
    refusedIdleMs: 10,
    durationMs: 260,
    paceMs: 7.5,
    tailMs: 10,
    ending: "none",
    idleMs: 20,
    founded: 1,
    faults: only({ "forget split": 4, delay: 3 }),
  },
  keeping: {
    ...INSIDE,
    what: "leases kept for long while their holders are cut off, stalled and answered late",
    n: 3,
    keys: 2,
    clients: 3,
    kept: 0.9,
    extends: 0.5,
    stepMs: 100,
    ttlMs: [60, 150],
    durationMs: 360,
    paceMs: 17.2,
    ending: "none",
    founded: 1,
    waitMs: [0, 50],
    patient: 0.8,
    faults: only({
      partition: 3,
      cut: 3,
      "cut requests": 3,
      "cut replies": 2,
      delay: 3,
      duplicate: 4,
      stall: 2,
      pause: 2,
      suspend: 1,
      freeze: 2,
    }),
  },
  opening: {
    ...INSIDE,
    what: "the first moments of a deployment: cut off, forgotten, restarted and replaced, and everything late or twice",
    guard: "auto",
    n: 3,
    keys: 1,
    clients: 3,
    fromTheStart: true,
    ttlMs: [400, 1_000],
    clockSkewMs: 4,
    retryDelayMs: [5, 60],
    refusedIdleMs: 40,
    durationMs: 170,
    paceMs: 7,
    tailMs: 180,
    ending: "none",
    faults: only({ forget: 5, restart: 4, delay: 5, replace: 4, cut: 2, duplicate: 4 }),
  },
  starting: {
    ...INSIDE,
    what: "a new deployment of which backends cannot be reached, forget, and come back, seen by new clients",
    guard: "auto",
    n: 3,
    keys: 1,
    clients: 3,
    fromTheStart: true,
    ttlMs: [200, 400],
    usedUp: 0.5,
    retryDelayMs: [25, 100],
    refusedIdleMs: 60,
    durationMs: 300,
    paceMs: 10,
    ending: "none",
    longFaults: true,
    patient: 0,
    faults: only({ forget: 5, down: 7, replace: 5, delay: 1 }),
  },
  proxied: {
    ...INSIDE,
    what: "a new deployment behind proxies: what was on its way to a backend that forgets reaches the one that comes after",
    guard: "auto",
    n: 3,
    keys: 1,
    clients: 3,
    fromTheStart: true,
    resent: true,
    ttlMs: [400, 1_000],
    usedUp: 0.9,
    clockSkewMs: 4,
    adversity: { acquire: { hopMsMax: 100, paths: 0.4 }, bootstrap: { hopMsMax: 30 } },
    hopMsMax: 3,
    inOrder: false,
    retryDelayMs: [5, 40],
    refusedIdleMs: 20,
    durationMs: 200,
    paceMs: 9.5,
    tailMs: 120,
    ending: "none",
    faults: only({ "forget granted": 6, delay: 3, duplicate: 1, replace: 1 }),
  },
  contended: {
    ...INSIDE,
    what: "four clients after one lock that is kept long, with answers lost and late",
    n: 3,
    keys: 1,
    clients: 4,
    kept: 0.9,
    extends: 0.6,
    stepMs: 60,
    calls: false,
    ttlMs: [60, 150],
    retryDelayMs: [5, 40],
    refusedIdleMs: 20,
    ending: "none",
    durationMs: 260,
    paceMs: 12.3,
    founded: 1,
    faults: only({ lossy: 4, "cut requests": 4, "cut replies": 2, delay: 3, stall: 1, pause: 1 }),
  },
  rolling: {
    ...INSIDE,
    retryDelayMs: [20, 120],
    what: 'rolling restarts under "auto", half of the processes replaced',
    guard: "auto",
    n: 3,
    keys: 1,
    durationMs: 240,
    paceMs: 10,
    tailMs: 300,
    ending: "none",
    refusedIdleMs: 150,
    waitMs: [0, 50],
    patient: 0.8,
    founded: 0.5,
    faults: only({ restart: 6, forget: 1, replace: 5, delay: 3, lossy: 2, duplicate: 1 }),
  },
  mad: {
    ...INSIDE,
    retryDelayMs: [20, 120],
    what: "memory lost, and one client whose wall clock jumps anywhere",
    n: 3,
    keys: 2,
    guard: "strict",
    ttlMs: [60, 150],
    madClocks: true,
    madClients: 1,
    durationMs: 430,
    paceMs: 20,
    ending: "none",
    refusedIdleMs: 120,
    waitMs: [0, 50],
    patient: 0.8,
    faults: only({ forget: 3, jump: 4, delay: 1, reset: 1 }),
  },
  quorum: {
    ...INSIDE,
    ...QUICK,
    what: 'a larger quorum instead of a quarantine (restartGuard "off"), and so many forgetful backends',
    quorum: "larger",
    guard: "off",
    durationMs: 260,
    paceMs: 11.8,
    keys: 4,
    faults: { restart: 0 },
  },
  kinds: {
    ...INSIDE,
    what: "mixed quorums: stores with coarse clocks and fine ones, durable or not, calling those who wait or not",
    mixed: true,
    keys: 1,
    clients: 3,
    usedUp: 0.4,
    ttlMs: [100, 200],
    durationMs: 440,
    paceMs: 21,
    founded: 1,
    refusedIdleMs: 140,
    faults: {},
  },
  queue: {
    ...INSIDE,
    what: "many who wait in line for one lock, some killed, stalled or cut off when it is their turn",
    n: 3,
    keys: 1,
    clients: 4,
    calls: true,
    waitMs: [30, 500],
    kept: 0.2,
    usedUp: 0.05,
    stepMs: 8,
    refusedIdleMs: 20,
    paceMs: 8.9,
    durationMs: 190,
    faults: only({
      delay: 3,
      lossy: 1,
      reset: 1,
      "cut requests": 1,
      stall: 2,
      pause: 1,
      replace: 3,
      close: 1,
      "force release": 2,
    }),
  },
  turns: {
    ...INSIDE,
    what: "waiting in line while nothing goes wrong but small delays: first come, first served",
    n: 3,
    keys: 1,
    clients: 4,
    calls: true,
    calm: true,
    // Where all must agree, one backend that called another waiter costs a turn.
    quorum: "majority",
    waitMs: [500, 1_000],
    kept: 0,
    usedUp: 0,
    ttlMs: [200, 300],
    clockSkewMs: 2,
    hopMsMax: 3,
    tailMs: 6,
    durationMs: 130,
    paceMs: 6.2,
    steps: [0, 0, 1],
    stepMs: 5,
    extends: 0.1,
    faults: only({ delay: 1 }),
  },
  outvoted: {
    ...INSIDE,
    what: "waiting in line while one of three backends is down or hung all the time, so that all others must agree",
    n: 3,
    keys: 1,
    clients: 6,
    calls: true,
    calm: true,
    quorum: "majority",
    absent: true,
    // The first of all waits are ended by no call, since nobody has been called yet.
    idleMsMax: 160,
    // Many begin to wait at the same time.
    wallStepMs: 20,
    // A ticket that arrives behind the word that its wait is over costs a reservation.
    inOrder: true,
    waitMs: [500, 1_000],
    kept: 0,
    usedUp: 0,
    // A request may be unanswered for a fifth of it, longer than a key may be nobody's.
    ttlMs: [1_000, 1_200],
    clockSkewMs: 2,
    hopMsMax: 2,
    tailMs: 6,
    stepMs: 2,
    durationMs: 220,
    paceMs: 10.5,
    faults: only({ delay: 1 }),
  },
  reordered: {
    ...INSIDE,
    ...QUICK,
    what: "long leases given back over connections whose messages overtake one another; no lock may be left",
    inOrder: false,
    ttlMs: [5_000, 10_000],
    ending: "graceful",
    // Nothing so late that its connection is given up before: whoever does not hear of a grant cannot give it back.
    durationMs: 560,
    paceMs: 25.8,
    keys: 8,
    n: 3,
    faults: only({ delay: 8, stall: 1 }),
  },
  force: {
    ...INSIDE,
    ...QUICK,
    what: "an operator deletes locks under their holders",
    durationMs: 560,
    paceMs: 25.8,
    keys: 5,
    n: 3,
    faults: { ...NO_LOSSES, "force release": 3 },
    kept: 1,
  },
  operated: {
    ...INSIDE,
    what: "an operator deletes a lock again and again while it is extended and requests come twice",
    n: 3,
    keys: 1,
    clients: 3,
    founded: 1,
    kept: 0.6,
    extends: 0.6,
    steps: [2, 4],
    stepMs: 20,
    usedUp: 0.5,
    ttlMs: [100, 200],
    hopMsMax: 5,
    durationMs: 400,
    paceMs: 13,
    ending: "none",
    faults: only({ "force release": 5, duplicate: 9, pause: 5, delay: 3, "cut replies": 1 }),
  },
  graceful: {
    ...INSIDE,
    ...QUICK,
    what: "long leases given back; no lock may be left",
    inOrder: true,
    ttlMs: [5_000, 10_000],
    ending: "graceful",
    durationMs: 580,
    paceMs: 27,
    keys: 8,
    n: 3,
    faults: {
      ...NO_LOSSES,
      ...without(["lossy", "duplicate", "half-open", "replace", "close", "down"]),
      late: 3,
      refuse: 4,
    },
  },
} as const satisfies Readonly<Record<string, Profile>>;

const OUTSIDE = { ending: "none" } as const;

/** Worlds with a broken assumption: what is then not promised is counted. */
export const OUTSIDE_PROFILES = {
  expiry: {
    ...OUTSIDE,
    what: "locks end at any moment: the clocks of backends leap ahead; many attempts at once",
    broken: "A1",
    notPromised: ["exclusion", "order"],
    n: 3,
    keys: 1,
    clients: 4,
    // Slow clocks beside fast ones: backends count up by one most of the time, so that equal numbers meet.
    clockSkewMs: 290,
    leapChance: 0.06,
    tailMs: 60,
    duplicateMs: 50,
    ttlMs: [150, 300],
    hopMsMax: 10,
    retryDelayMs: [2, 20],
    idleMs: 10,
    refusedIdleMs: 15,
    durationMs: 300,
    paceMs: 15,
    faults: only({ duplicate: 6, delay: 6, pause: 2, reset: 1, "cut requests": 1 }),
  },
  ties: {
    ...OUTSIDE,
    what: "locks end just before somebody asks for them, and counters hardly differ; raises are late, requests come twice",
    broken: "A1",
    notPromised: ["exclusion", "order"],
    guard: "strict",
    n: 3,
    keys: 1,
    clients: 3,
    clockSkewMs: 2,
    wallStepMs: 100_000,
    adversity: { acquire: { hopMsMax: 30, leaps: 0.4 }, raise: { hopMsMax: 60 } },
    hopMsMax: 3,
    ttlMs: [200, 300],
    duplicateMs: 60,
    inOrder: false,
    calls: false,
    retryDelayMs: [2, 20],
    idleMs: 10,
    stepMs: 10,
    refusedIdleMs: 10,
    durationMs: 360,
    paceMs: 17,
    patient: 0,
    founded: 0,
    faults: only({ duplicate: 8, delay: 1, reset: 1 }),
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
    n: 3,
    keys: 1,
    ttlMs: [60, 150],
    clockSkewMs: 148,
    durationMs: 700,
    paceMs: 35,
    skewFactor: 3,
    refusedIdleMs: 120,
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
