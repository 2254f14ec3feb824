/** Everything about a world that is decided before it begins: plain data, drawn from its seed and its profile. */
import { drawFaults, weights, type Fault, type Weights } from "./faults.js";
import { createDice, type Dice } from "./kernel.js";
import type { Clocks } from "./process.js";
import { PROFILES, type Profile, type ProfileName } from "./profiles.js";

/** One client process. */
export interface ClientPlan {
  readonly clocks: Clocks;
  readonly retryDelayMs: readonly [min: number, max: number];
  /** The TTL of all its leases; undefined where each has its own. */
  readonly ttlMs: number | undefined;
  /** How many workers each of its lockers has. */
  readonly workers: readonly number[];
}

/** What kind of store a backend is; those of a mixed quorum differ. */
export interface Nature {
  /** Its clock shows steps of this: locks end so much too early, or too late, and it declares both. */
  readonly grainMs: number;
  /** A plain restart is no new memory. */
  readonly durable: boolean;
  /** It calls those who wait. */
  readonly calls: boolean;
}

/** One world. */
export interface Plan {
  readonly seed: number;
  readonly profile: ProfileName;
  readonly n: number;
  /** Undefined: the default of the locker. */
  readonly quorum: number | undefined;
  readonly guard: "strict" | "auto" | "off";
  /** The deployment is in service when the world begins; else its first client starts it. */
  readonly founded: boolean;
  readonly driftPpm: number;
  readonly clockSkewMs: number;
  readonly maxTtlMs: number;
  readonly keys: readonly string[];
  readonly backends: readonly Clocks[];
  /** Those of the first moment; {@link Plan.newClients} for those that replace them. */
  readonly clients: readonly ClientPlan[];
  readonly newClients: readonly ClientPlan[];
  readonly hopMsMax: number;
  readonly inOrder: boolean;
  /** One for each backend. */
  readonly natures: readonly Nature[];
  /** Backends that may lose their memory are those below this index. */
  readonly forgetful: number;
  readonly durationMs: number;
  readonly faults: readonly Fault[];
}

/** TTLs of leases, unless the profile says otherwise. */
export const TTL_MS = [60, 200] as const;

/** All sizes, but mostly small ones: a world of nine costs three of three, and what can go wrong can go wrong with three. */
const SIZES = sizes({ 1: 6, 2: 6, 3: 52, 4: 4, 5: 5, 6: 1, 7: 1, 8: 1, 9: 1 });
/** Those in which a quorum can be larger than a majority and still lack some. */
const LARGER_SIZES = sizes({ 4: 10, 5: 10, 6: 2, 7: 2, 8: 1, 9: 1 });
const CLIENTS = [1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 4] as const;
const DRIFTS_PPM = [5_000, 20_000, 50_000] as const;
const RETRIES_MS = [
  [30, 120],
  [60, 240],
  [120, 400],
] as const;
const NEW_CLIENTS = 5;
const FOUNDED = 0.8;

/** The world of that seed. */
export function drawPlan(seed: number, name: ProfileName): Plan {
  const dice = createDice(seed);
  const profile: Profile = PROFILES[name];
  const n = profile.n ?? dice.pick(profile.quorum === "larger" ? LARGER_SIZES : SIZES);
  const majority = Math.floor(n / 2) + 1;
  const larger = profile.quorum === "larger" ? dice.whole(majority + (n % 2), n - 1) : undefined;
  const quorum =
    larger ?? (profile.quorum === undefined && dice.chance(0.1) ? dice.whole(majority, n) : undefined);
  const driftPpm = profile.driftPpm ?? dice.pick(DRIFTS_PPM);
  const clockSkewMs = profile.clockSkewMs ?? 20;
  const durationMs = profile.durationMs ?? 580;
  const fresh = profile.fromTheStart === true;
  const client = (i: number): ClientPlan => ({
    ttlMs: profile.ttlMsByClient?.[i % profile.ttlMsByClient.length],
    clocks: drawClocks(dice, profile, { driftPpm, clockSkewMs }),
    retryDelayMs: profile.retryDelayMs ?? dice.pick(RETRIES_MS),
    workers: Array.from({ length: dice.chance(0.15) ? 2 : 1 }, () => (dice.chance(0.15) ? 2 : 1)),
  });
  const of = <T>(length: number, draw: (i: number) => T): readonly T[] =>
    Array.from({ length }, (_, i) => draw(i));
  const guard = profile.guard ?? dice.pick(["strict", "auto"] as const);
  const founded = !fresh && dice.chance(profile.founded ?? FOUNDED);
  return {
    seed,
    profile: name,
    n,
    quorum,
    guard,
    founded,
    driftPpm,
    clockSkewMs,
    maxTtlMs: profile.ttlMs?.[1] ?? TTL_MS[1],
    keys: of(profile.keys ?? dice.pick([1, 2, 3, 3, 4]), () => "").map((_, i) => `key-${i + 1}`),
    backends: of(n, () => drawClocks(dice, profile, { driftPpm, clockSkewMs })),
    clients: of(profile.clients ?? dice.pick(CLIENTS), client),
    newClients: of(NEW_CLIENTS, client),
    hopMsMax: profile.hopMsMax ?? dice.between(1, 5),
    inOrder: profile.inOrder ?? dice.chance(0.5),
    natures: drawNatures(dice, profile, n),
    forgetful: larger === undefined ? n : 2 * larger - n - 1,
    durationMs,
    faults: drawFaults(dice, {
      weights: weightsOf(profile),
      // Time for a first contact.
      fromMs: fresh || founded || guard !== "auto" ? 0 : 60,
      untilMs: durationMs,
      paceMs: profile.paceMs ?? 27,
      ...(profile.tailMs === undefined ? {} : { tailMs: profile.tailMs }),
      long: profile.longFaults ?? false,
      ...(profile.duplicateMs === undefined ? {} : { duplicateMs: profile.duplicateMs }),
    }),
  };
}

const drawn = new WeakMap<Profile, Weights>();

/** Made once for each profile. */
function weightsOf(profile: Profile): Weights {
  const known = drawn.get(profile) ?? weights(profile.faults);
  drawn.set(profile, known);
  return known;
}

/** Each size as often as it says. */
function sizes(shares: Readonly<Record<number, number>>): readonly number[] {
  return Object.entries(shares).flatMap(([n, share]) => new Array<number>(share).fill(Number(n)));
}

/** All alike, unless the quorum is a mixed one. */
function drawNatures(dice: Dice, profile: Profile, n: number): readonly Nature[] {
  if (profile.mixed === true) {
    return Array.from({ length: n }, () => ({
      grainMs: dice.pick([0, 5, 20, 40]),
      durable: dice.chance(0.5),
      calls: dice.chance(0.5),
    }));
  }
  const calls = profile.calls ?? dice.chance(0.5);
  return Array.from({ length: n }, () => ({ grainMs: 0, durable: false, calls }));
}

/** Half of the clocks are at a bound, since that is where formulas break. */
function drawClocks(
  dice: Dice,
  profile: Profile,
  bounds: { readonly driftPpm: number; readonly clockSkewMs: number },
): Clocks {
  const rate = bounds.driftPpm * (profile.driftFactor ?? 1);
  const offset = (bounds.clockSkewMs / 2 - 1) * (profile.skewFactor ?? 1);
  const sign = dice.pick([-1, 1] as const);
  return {
    ratePpm: dice.chance(0.6) ? sign * rate : Math.round(dice.between(-rate, rate)),
    wallOffsetMs: dice.chance(0.5)
      ? dice.pick([-1, 1] as const) * offset
      : Math.round(dice.between(-offset, offset)),
    ...(profile.wallStepMs === undefined ? {} : { wallStepMs: profile.wallStepMs }),
  };
}
