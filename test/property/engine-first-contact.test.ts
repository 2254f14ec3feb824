import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  dueBootstraps,
  dueJoins,
  joinAcknowledged,
  observe,
  startFirstContact,
  type FirstContact,
  type Sighting,
} from "../../src/engine/first-contact.js";
import {
  twinBootstraps,
  twinDecided,
  twinJoins,
  type TwinAnswer,
  type TwinJoin,
} from "../engine/twins/first-contact-twin.js";

/** One backend of the world in which the locker looks around. */
interface Store {
  incarnation: string;
  inService: boolean;
  joined: boolean;
}

/** A request on its way: not yet executed, or on its way back. */
interface Flight {
  readonly index: number;
  readonly sentAt: number;
  readonly sentAfter: number;
  sighting: Sighting | undefined;
}

/** What may happen; numbers pick among what there is. */
const happening = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("round" as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("send" as const), pick: fc.nat(20) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("execute" as const), pick: fc.nat(20) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("answer" as const), pick: fc.nat(20) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("all answers" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("restart" as const), pick: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("in service" as const), pick: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("joined" as const), pick: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("join told" as const), pick: fc.nat(20) }) },
);
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;
const story = fc.record({
  n: fc.integer({ min: 1, max: 4 }),
  happenings: fc.array(happening, { maxLength: 60, size: "max" }),
});
type Story = typeof story extends fc.Arbitrary<infer T> ? T : never;

/** What is seen of a story after every step. */
interface Look {
  readonly state: FirstContact;
  readonly answers: readonly TwinAnswer[];
  readonly joins: readonly TwinJoin[];
  /** Every moment so far at which all were quarantined and unjoined: their incarnations then. */
  readonly blank: ReadonlySet<string>;
}

function play({ n, happenings }: Story, look: (at: Look) => void): void {
  let state = startFirstContact(n);
  let answers: readonly TwinAnswer[] = [];
  let joins: readonly TwinJoin[] = [];
  let flights: readonly Flight[] = [];
  let made = n;
  const stores = Array.from({ length: n }, (_, i): Store => ({
    incarnation: `m${i}`,
    inService: false,
    joined: false,
  }));
  const blank = new Set<string>();

  const send = (index: number): void => {
    flights = [...flights, { index, sentAt: state.clock, sentAfter: answers.length, sighting: undefined }];
  };
  const execute = (flight: Flight): void => {
    const store = stores[flight.index];
    if (store === undefined || flight.sighting !== undefined) return;
    const { incarnation, joined } = store;
    flight.sighting = store.inService ? { kind: "in-service" } : { kind: "quarantined", incarnation, joined };
  };
  const answer = (flight: Flight): void => {
    execute(flight);
    const { index, sentAt, sentAfter, sighting } = flight;
    if (sighting === undefined) return;
    flights = flights.filter((each) => each !== flight);
    answers = [...answers, { index, sentAfter, sighting }];
    state = observe(state, { index, sentAt }, sighting);
  };
  const act = (each: Happening): void => {
    if (each.kind === "round") return stores.forEach((_, index) => send(index));
    if (each.kind === "all answers") return flights.forEach(answer);
    const flight = flights[each.pick % Math.max(1, flights.length)];
    const index = each.pick % n;
    const store = stores[index];
    if (store === undefined) return;
    switch (each.kind) {
      case "send":
        return send(index);
      case "execute":
        return flight && execute(flight);
      case "answer":
        return flight && answer(flight);
      case "restart":
        stores[index] = { incarnation: `m${made++}`, inService: false, joined: false };
        return;
      case "in service":
        stores[index] = { ...store, inService: true };
        return;
      case "joined":
        stores[index] = { ...store, joined: true };
        return;
      case "join told": {
        const target = dueJoins(state)[each.pick % Math.max(1, dueJoins(state).length)];
        if (target === undefined) return;
        state = joinAcknowledged(state, target);
        joins = [...joins, { ...target, after: answers.length }];
      }
    }
  };

  for (const each of happenings) {
    if (stores.every((store) => !store.inService && !store.joined))
      blank.add(names(stores.map((s) => s.incarnation)));
    act(each);
    look({ state, answers, joins, blank });
  }
}

const names = (incarnations: readonly (string | undefined)[]): string => incarnations.join(" ");

describe("first contact", () => {
  it("bootstraps and joins what a twin does that works it out of the list of all answers", () => {
    fc.assert(
      fc.property(story, (told) =>
        play(told, ({ state, answers, joins }) => {
          expect(state.decided.includes(undefined) ? undefined : state.decided).toEqual(
            twinDecided(told.n, answers),
          );
          expect(dueBootstraps(state)).toEqual(twinBootstraps(told.n, answers));
          expect(dueJoins(state)).toEqual(twinJoins(told.n, answers, joins));
        }),
      ),
      { numRuns: 3_000 },
    );
  });

  it("bootstraps only what was new everywhere at one instant: all quarantined, unjoined, in those very memories", () => {
    let decisions = 0;
    fc.assert(
      fc.property(story, (told) =>
        play(told, ({ state, blank }) => {
          if (dueBootstraps(state).length === 0) return;
          decisions++;
          expect(blank).toContain(names(state.decided));
        }),
      ),
      { numRuns: 3_000 },
    );
    expect(decisions).toBeGreaterThan(1_000);
  });

  it("decides nothing any more once a backend was seen in service or joined", () => {
    fc.assert(
      fc.property(story, (told) => {
        let before: FirstContact | undefined;
        play(told, ({ state }) => {
          expect(before?.deploymentSeen === true ? state.decided : undefined).toEqual(
            before?.deploymentSeen === true ? before.decided : undefined,
          );
          before = state;
        });
      }),
      { numRuns: 500 },
    );
  });

  it("needs exactly two rounds that are answered in full, in whatever order the answers come", () => {
    const orders = fc.integer({ min: 1, max: 5 }).chain((n) => {
      const all = Array.from({ length: n }, (_, i) => i);
      const order = fc.shuffledSubarray(all, { minLength: n });
      return fc.record({ n: fc.constant(n), orders: fc.tuple(order, order) });
    });
    fc.assert(
      fc.property(orders, ({ n, orders: rounds }) => {
        let state = startFirstContact(n);
        for (const order of rounds) {
          expect(dueBootstraps(state)).toEqual([]);
          const sentAt = state.clock;
          for (const index of order) {
            state = observe(
              state,
              { index, sentAt },
              { kind: "quarantined", incarnation: `m${index}`, joined: false },
            );
          }
        }
        expect(dueBootstraps(state)).toHaveLength(n);
      }),
    );
  });
});
