import { describe, expect, it } from "vitest";
import { InvariantError } from "../../src/engine/assert.js";
import {
  dueBootstraps,
  dueJoins,
  joinAcknowledged,
  observe,
  startFirstContact,
  type FirstContact,
  type Sighting,
} from "../../src/engine/first-contact.js";

const fresh = (incarnation: string): Sighting => ({ kind: "quarantined", incarnation, joined: false });
const joined = (incarnation: string): Sighting => ({ kind: "quarantined", incarnation, joined: true });
const inService: Sighting = { kind: "in-service" };

/** The state after one round to all backends, answered in order; undefined is no answer. */
function round(state: FirstContact, ...sightings: readonly (Sighting | undefined)[]): FirstContact {
  const sentAt = state.clock;
  return sightings.reduce<FirstContact>(
    (seen, sighting, index) => (sighting === undefined ? seen : observe(seen, { index, sentAt }, sighting)),
    state,
  );
}

const ALL_NEW = [fresh("a"), fresh("b"), fresh("c")];
const TARGETS = [
  { index: 0, incarnation: "a" },
  { index: 1, incarnation: "b" },
  { index: 2, incarnation: "c" },
];

describe("a new deployment", () => {
  it("is started after it was seen twice, not once: one round is no snapshot", () => {
    const once = round(startFirstContact(3), ...ALL_NEW);
    expect(dueBootstraps(once)).toEqual([]);
    const twice = round(once, ...ALL_NEW);
    expect(dueBootstraps(twice)).toEqual(TARGETS);
    expect(dueJoins(twice)).toEqual([]);
  });

  it("is not started by two rounds of which the second was sent before the first was answered", () => {
    let state = startFirstContact(3);
    const sentAt = state.clock;
    for (let times = 0; times < 5; times++) {
      ALL_NEW.forEach((sighting, index) => {
        state = observe(state, { index, sentAt }, sighting);
      });
    }
    expect(dueBootstraps(state)).toEqual([]);
  });

  it("is not started by a second look of which one request left before the last first answer came", () => {
    let state = round(startFirstContact(2), fresh("a"));
    const early = state.clock;
    state = observe(state, { index: 1, sentAt: 0 }, fresh("b"));
    state = observe(state, { index: 1, sentAt: state.clock }, fresh("b"));
    state = observe(state, { index: 0, sentAt: early }, fresh("a"));
    expect(dueBootstraps(state)).toEqual([]);
    state = observe(state, { index: 0, sentAt: state.clock }, fresh("a"));
    expect(dueBootstraps(state)).toHaveLength(2);
  });

  it("is not started while a backend is missing, however often the others were seen", () => {
    let state = startFirstContact(3);
    for (let i = 0; i < 10; i++) state = round(state, fresh("a"), fresh("b"), undefined);
    expect(dueBootstraps(state)).toEqual([]);
    state = round(round(state, ...ALL_NEW), ...ALL_NEW);
    expect(dueBootstraps(state)).toEqual(TARGETS);
  });

  it("is not started when a backend was joined, and the others learn of it", () => {
    let state = round(startFirstContact(3), fresh("a"), joined("b"), fresh("c"));
    expect(dueJoins(state)).toEqual([TARGETS[0], TARGETS[2]]);
    for (let i = 0; i < 3; i++) state = round(state, ...ALL_NEW);
    expect(dueBootstraps(state)).toEqual([]);
    expect(dueJoins(state)).toEqual(TARGETS);
  });

  it("is not started when a backend is in service, also one seen long ago", () => {
    let state = round(startFirstContact(3), inService, fresh("b"), fresh("c"));
    expect(dueJoins(state)).toEqual([TARGETS[1], TARGETS[2]]);
    for (let i = 0; i < 3; i++) state = round(state, ...ALL_NEW);
    expect(dueBootstraps(state)).toEqual([]);
  });

  it("is looked at anew when a backend forgot once more between the looks", () => {
    let state = round(startFirstContact(3), ...ALL_NEW);
    const again = [fresh("a"), fresh("b2"), fresh("c")];
    state = round(state, ...again);
    expect(dueBootstraps(state)).toEqual([]);
    state = round(state, ...again);
    expect(dueBootstraps(state)).toEqual([]);
    state = round(state, ...again);
    expect(dueBootstraps(state).map(({ incarnation }) => incarnation)).toEqual(["a", "b2", "c"]);
  });

  it("is bootstrapped again where the answer still says quarantined, and only there", () => {
    let state = round(round(startFirstContact(3), ...ALL_NEW), ...ALL_NEW);
    state = round(state, inService, fresh("b"), inService);
    expect(dueBootstraps(state)).toEqual([TARGETS[1]]);
    expect(dueJoins(state)).toEqual([]);
    state = round(state, inService, inService, inService);
    expect(dueBootstraps(state)).toEqual([]);
  });

  it("is not bootstrapped where the memory is another by now: that one is joined", () => {
    let state = round(round(startFirstContact(3), ...ALL_NEW), ...ALL_NEW);
    state = round(state, inService, fresh("b2"), inService);
    expect(dueBootstraps(state)).toEqual([]);
    expect(dueJoins(state)).toEqual([{ index: 1, incarnation: "b2" }]);
  });

  it("of one backend needs two looks as well", () => {
    const once = round(startFirstContact(1), fresh("a"));
    expect(dueBootstraps(once)).toEqual([]);
    expect(dueBootstraps(round(once, fresh("a")))).toEqual([TARGETS[0]]);
  });
});

describe("joins", () => {
  it("are due until they are acknowledged, for that very memory", () => {
    let state = round(startFirstContact(2), inService, fresh("b"));
    expect(dueJoins(state)).toEqual([TARGETS[1]]);
    expect(dueJoins(joinAcknowledged(state, { index: 1, incarnation: "old" }))).toEqual([TARGETS[1]]);
    state = joinAcknowledged(state, { index: 1, incarnation: "b" });
    expect(dueJoins(state)).toEqual([]);
    expect(dueJoins(round(state, inService, fresh("b2")))).toEqual([{ index: 1, incarnation: "b2" }]);
  });

  it("are not due for what is joined or in service", () => {
    expect(dueJoins(round(startFirstContact(2), inService, joined("b")))).toEqual([]);
    expect(dueJoins(round(startFirstContact(2), inService, inService))).toEqual([]);
  });

  it("are not due before a deployment was seen", () => {
    expect(dueJoins(round(startFirstContact(2), fresh("a"), fresh("b")))).toEqual([]);
  });
});

describe("an answer", () => {
  it("of a backend at work costs nothing: the state stays the same object", () => {
    const state = round(startFirstContact(2), inService, inService);
    expect(round(state, inService, inService)).toBe(state);
  });

  it("that comes before its request was sent is a broken invariant", () => {
    expect(() => observe(startFirstContact(1), { index: 0, sentAt: 1 }, inService)).toThrow(InvariantError);
    expect(() => observe(startFirstContact(1), { index: 0, sentAt: 1 }, inService)).toThrow(
      "a request is sent before its answer comes",
    );
  });
});
