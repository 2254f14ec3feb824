import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  adoptedUntil,
  adoptionVerdict,
  castSighting,
  startAdoption,
  type LeaseSighting,
} from "../../src/engine/adoption.js";
import {
  castRaise,
  castVote,
  dueRaises,
  raiseSent,
  startRound,
  verdict,
  type RaiseVote,
  type Round,
  type Vote,
} from "../../src/engine/round.js";
import { instant } from "../../src/engine/time.js";
import { higherFence, mintFence } from "../../src/engine/token.js";
import { validityMs } from "../../src/engine/validity.js";
import { twinAdoptionVerdict } from "../engine/twins/adoption-twin.js";

const sighting: fc.Arbitrary<LeaseSighting> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("locked" as const),
      owner: fc.constantFrom("ours", "ours", "ours", "theirs"),
      counter: fc.constantFrom(4n, 5n, 5n, 5n, 6n),
      remainingMs: fc.integer({ min: 1, max: 30 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("free" as const, "quarantined" as const, "fault" as const),
    }),
  },
);
const scene = fc.integer({ min: 1, max: 5 }).chain((n) =>
  fc.record({
    n: fc.constant(n),
    quorum: fc.integer({ min: Math.floor(n / 2) + 1, max: n }),
    answers: fc.array(fc.tuple(fc.nat(n - 1), sighting), { maxLength: n + 2 }),
  }),
);

describe("an adoption", () => {
  it("is decided as a twin decides it that tries the futures of all that have not answered", () => {
    const kinds = new Map<string, number>();
    fc.assert(
      fc.property(scene, ({ n, quorum, answers }) => {
        const lease = { owner: "ours", token: 5n, quorum };
        let adoption = startAdoption(n, lease);
        const seen = new Array<LeaseSighting | undefined>(n).fill(undefined);
        for (const [index, answer] of answers) {
          adoption = castSighting(adoption, index, answer);
          seen[index] ??= answer;
          const is = adoptionVerdict(adoption);
          expect(is).toEqual(twinAdoptionVerdict(seen, lease));
          kinds.set(is.kind, (kinds.get(is.kind) ?? 0) + 1);
        }
      }),
      { numRuns: 4_000 },
    );
    for (const kind of ["pending", "vouched", "denied", "no-quorum"])
      expect(kinds.get(kind), kind).toBeGreaterThan(100);
  });

  it("stays decided, whatever is answered after that", () => {
    fc.assert(
      fc.property(scene, ({ n, quorum, answers }) => {
        let adoption = startAdoption(n, { owner: "ours", token: 5n, quorum });
        let decided: string | undefined;
        for (const [index, answer] of answers) {
          adoption = castSighting(adoption, index, answer);
          const { kind } = adoptionVerdict(adoption);
          // Only a lack of witnesses may turn into a denial, by one more that denies.
          if (decided !== undefined && !(decided === "no-quorum" && kind === "denied"))
            expect(kind).toBe(decided);
          if (kind !== "pending") decided = kind;
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("ends before the locks that vouch for it, by any clocks within the bounds, and never later than was stated", () => {
    const rate = fc.integer({ min: -5_000, max: 5_000 });
    const story = fc.record({
      remainingMs: fc.integer({ min: 1, max: 60_000 }),
      statedMs: fc.oneof(fc.constant(60_000), fc.integer({ min: 0, max: 60_000 })),
      measuredAfterMs: fc.double({ min: 0, max: 2_000, noNaN: true }),
      client: rate,
      backend: rate,
      earlyByMs: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(story, ({ remainingMs, statedMs, measuredAfterMs, client, backend, earlyByMs }) => {
        const bounds = { driftPpm: 5_000, earlyByMs: 1, grainMs: 1 };
        const until = adoptedUntil(instant(100), { remainingMs, statedMs }, bounds);
        expect(until).toBeLessThanOrEqual(100 + statedMs);
        expect(until).toBeLessThanOrEqual(100 + validityMs(remainingMs, bounds));
        // In true time, counted from the first question.
        const lockEndsMs = measuredAfterMs + (remainingMs - earlyByMs) / (1 + backend / 1e6);
        const leaseEndsMs = (until - 100) / (1 + client / 1e6);
        expect(leaseEndsMs).toBeLessThanOrEqual(Math.max(lockEndsMs, 0) + 1e-9);
      }),
      { numRuns: 5_000 },
    );
  });
});

/** A backend as the protocol describes it, without a clock: its lock may end at any time. */
interface Store {
  lock: { readonly owner: string; readonly fence: bigint } | undefined;
  counter: bigint;
}

type Request =
  | { readonly kind: "acquire" | "extend" | "release"; readonly owner: number; readonly index: number }
  | { readonly kind: "raise"; readonly owner: number; readonly index: number; readonly fence: bigint };

interface Attempt {
  readonly name: string;
  readonly proposal: bigint;
  round: Round;
  begun: boolean;
  /** What was handed over is not released, and what was released is not handed over. */
  released: boolean;
}

const step = fc.record({
  kind: fc.constantFrom(
    "begin",
    "begin",
    ...new Array<"deliver">(12).fill("deliver"),
    "again",
    "again",
    "lose",
    "end",
    "end",
    "extend",
    "release",
    "look",
    "look",
    "look",
  ),
  pick: fc.nat(1_000),
});
const life = fc.record({
  n: fc.integer({ min: 1, max: 5 }),
  proposals: fc.array(fc.bigInt({ min: 1n, max: 6n }), { minLength: 2, maxLength: 4 }),
  steps: fc.array(step, { minLength: 20, maxLength: 120, size: "max" }),
});

/**
 * Attempts over stores whose locks end at any time but for those that vouch while it is being decided, with
 * requests that are late, lost and doubled. Reports every adoption
 * of a won lease that q backends vouched for, with the tokens that others had won by then.
 */
function live(
  { n, proposals, steps }: typeof life extends fc.Arbitrary<infer T> ? T : never,
  vouched: (lease: { readonly token: bigint; readonly others: readonly bigint[] }) => void,
): void {
  const quorum = Math.floor(n / 2) + 1;
  const stores = Array.from({ length: n }, (): Store => ({ lock: undefined, counter: 0n }));
  const attempts = proposals.map((proposal, i): Attempt => ({
    name: `owner-${i}`,
    proposal,
    round: startRound(n, quorum, instant(Number.POSITIVE_INFINITY)),
    begun: false,
    released: false,
  }));
  let flights: readonly Request[] = [];
  let sent: readonly Request[] = [];
  const looking = new Map<number, ReturnType<typeof startAdoption>>();
  const won = ({ round }: Attempt): boolean => verdict(round, instant(0)) === "won";

  const send = (request: Request): void => {
    flights = [...flights, request];
    sent = [...sent, request];
  };
  const everywhere = (kind: "acquire" | "extend" | "release", owner: number): void => {
    stores.forEach((_, index) => send({ kind, owner, index }));
  };
  const execute = (request: Request): void => {
    const store = stores[request.index];
    const attempt = attempts[request.owner];
    if (store === undefined || attempt === undefined) return;
    const { name, round } = attempt;
    const { lock } = store;
    switch (request.kind) {
      case "acquire": {
        let vote: Vote;
        if (lock !== undefined && lock.owner !== name) vote = { kind: "held", remainingMs: undefined };
        else if (lock !== undefined) vote = { kind: "granted", fence: lock.fence };
        else {
          const fence = mintFence(store.counter, attempt.proposal) ?? 0n;
          store.counter = fence;
          store.lock = { owner: name, fence };
          vote = { kind: "granted", fence };
        }
        attempt.round = castVote(round, request.index, vote);
        break;
      }
      case "raise": {
        const matches = lock?.owner === name && lock.fence === request.fence;
        if (matches) store.counter = higherFence(store.counter, round.token ?? 0n);
        const vote: RaiseVote = matches ? "raised" : "refused";
        attempt.round = castRaise(round, request.index, vote);
        break;
      }
      case "extend": {
        const token = round.token ?? 0n;
        if (lock !== undefined && lock.owner !== name) return;
        store.counter = higherFence(store.counter, token);
        store.lock ??= { owner: name, fence: store.counter };
        return;
      }
      case "release":
        if (lock?.owner === name) store.lock = undefined;
        return;
    }
    for (const index of dueRaises(attempt.round)) {
      const fence = attempt.round.fences[index] ?? stores[index]?.lock?.fence ?? 0n;
      attempt.round = raiseSent(attempt.round, index);
      send({ kind: "raise", owner: request.owner, index, fence });
    }
  };
  /** One more backend is looked at, for one of the won leases. */
  const look = (owner: number, index: number): void => {
    const attempt = attempts[owner];
    const token = attempt?.round.token;
    const store = stores[index];
    if (attempt === undefined || token === undefined || store === undefined) return;
    if (!won(attempt) || attempt.released) return;
    const lease = { quorum, owner: attempt.name, token };
    let adoption = looking.get(owner) ?? startAdoption(n, lease);
    const { lock, counter } = store;
    adoption = castSighting(
      adoption,
      index,
      lock === undefined ? { kind: "free" } : { kind: "locked", owner: lock.owner, counter, remainingMs: 1 },
    );
    looking.set(owner, adoption);
    const { kind } = adoptionVerdict(adoption);
    if (kind === "vouched") {
      const others = attempts.filter((other) => other !== attempt && won(other));
      vouched({ token, others: others.map(({ round }) => round.token ?? 0n) });
    }
    if (kind !== "pending" || !adoption.seen.includes(undefined)) looking.delete(owner);
  };

  for (const { kind, pick } of steps) {
    const owner = pick % attempts.length;
    const index = Math.floor(pick / attempts.length) % n;
    const attempt = attempts[owner];
    const flight = flights[pick % Math.max(1, flights.length)];
    switch (kind) {
      case "begin":
        if (attempt !== undefined && !attempt.begun) everywhere("acquire", owner);
        if (attempt !== undefined) attempt.begun = true;
        break;
      case "deliver":
        if (flight === undefined) break;
        flights = flights.filter((each) => each !== flight);
        execute(flight);
        break;
      case "again": {
        const old = sent[pick % Math.max(1, sent.length)];
        if (old !== undefined) flights = [...flights, { ...old }];
        break;
      }
      case "lose":
        flights = flights.filter((each) => each !== flight);
        break;
      case "end": {
        const store = stores[index];
        const vouching = [...looking.values()].some(({ seen }) => seen[index]?.kind === "locked");
        if (store !== undefined && !vouching) store.lock = undefined;
        break;
      }
      case "extend":
        if (attempt !== undefined && won(attempt)) everywhere("extend", owner);
        break;
      case "release":
        if (attempt?.begun !== true || looking.has(owner)) break;
        attempt.released = true;
        everywhere("release", owner);
        break;
      case "look":
        look(owner, index);
    }
  }
}

describe("a lease that q backends vouch for", () => {
  it("is the newest one: nobody won a larger token, whatever ended, came late or came twice", () => {
    let adoptions = 0;
    let amongOthers = 0;
    fc.assert(
      fc.property(life, (told) =>
        live(told, ({ token, others }) => {
          adoptions++;
          if (others.length > 0) amongOthers++;
          for (const other of others) expect(other < token, `${other} beside ${token}`).toBe(true);
        }),
      ),
      { numRuns: 20_000 },
    );
    expect(adoptions).toBeGreaterThan(1_000);
    expect(amongOthers).toBeGreaterThan(50);
  });
});
