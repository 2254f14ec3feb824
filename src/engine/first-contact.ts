/**
 * First contact with backends that have no memory of the deployment. A new deployment looks just like one that forgot
 * everything, so a locker starts one by itself only when *all* backends, none missing, were seen quarantined and
 * unjoined *twice* with the same incarnations, the second requests sent only after all the first answers had come. One
 * round is no snapshot: without the second look two holders are possible with no message lost. And once a locker has
 * seen any backend in service or joined it starts nothing any more; it tells the quarantined ones that a deployment
 * exists ("join"), so that nobody else does either.
 */
import { assert } from "./assert.js";
import { replaced } from "./replaced.js";

/** What an answer says about the memory of the backend that gave it. */
export type Sighting =
  | { readonly kind: "in-service" }
  | { readonly kind: "quarantined"; readonly incarnation: string; readonly joined: boolean };

/** Which backend answered, and the state's clock when the request for it was sent. */
export interface SightingSource {
  readonly index: number;
  readonly sentAt: number;
}

type Incarnations = readonly (string | undefined)[];

/** What one locker has seen. Values are replaced, never edited. */
export interface FirstContact {
  /** Counts sightings; orders a request after the answers that came before it was sent. */
  readonly clock: number;
  /** A backend of the set was seen in service or joined. Stays true. */
  readonly deploymentSeen: boolean;
  /** Where the last sighting was a quarantine, its incarnation. */
  readonly quarantined: Incarnations;
  /** Where the last sighting was a quarantine that nobody joined, its incarnation. */
  readonly unjoined: Incarnations;
  /** Answers to requests sent before this do not count as looks. */
  readonly looksFrom: number;
  /** The first look: complete when no entry is undefined. */
  readonly first: Incarnations;
  /** {@link FirstContact.clock} when the first look was complete. */
  readonly firstDoneAt: number | undefined;
  /** The second look. */
  readonly second: Incarnations;
  /** The bootstrap that was decided on; it is repeated until no backend answers quarantined in that incarnation. */
  readonly decided: Incarnations;
}

/** A backend and the incarnation on which an action there is conditional. */
export interface Target {
  readonly index: number;
  readonly incarnation: string;
}

/** Nothing seen yet. */
export function startFirstContact(n: number): FirstContact {
  const nobody = new Array<undefined>(n).fill(undefined);
  return {
    clock: 0,
    deploymentSeen: false,
    quarantined: nobody,
    unjoined: nobody,
    looksFrom: 0,
    first: nobody,
    firstDoneAt: undefined,
    second: nobody,
    decided: nobody,
  };
}

/** The state after backend `from.index` answered a request that was sent when the clock stood at `from.sentAt`. */
export function observe(state: FirstContact, from: SightingSource, sighting: Sighting): FirstContact {
  assert(from.sentAt <= state.clock, "a request is sent before its answer comes");
  if (sighting.kind === "in-service") {
    // Nothing new, as for nearly every answer of a deployment at work.
    if (state.deploymentSeen && state.quarantined[from.index] === undefined) return state;
    return sawDeployment(state, {
      quarantined: replaced(state.quarantined, from.index, undefined),
      unjoined: replaced(state.unjoined, from.index, undefined),
    });
  }
  const quarantined = replaced(state.quarantined, from.index, sighting.incarnation);
  const unjoined = replaced(state.unjoined, from.index, sighting.joined ? undefined : sighting.incarnation);
  if (sighting.joined) return sawDeployment(state, { quarantined, unjoined });
  const seen = { ...state, clock: state.clock + 1, quarantined, unjoined };
  return state.deploymentSeen ? seen : look(seen, from, sighting.incarnation);
}

function sawDeployment(
  state: FirstContact,
  { quarantined, unjoined }: Pick<FirstContact, "quarantined" | "unjoined">,
): FirstContact {
  const clock = state.clock + 1;
  const nobody = nobodyOf(state);
  return {
    clock,
    deploymentSeen: true,
    quarantined,
    unjoined,
    looksFrom: clock,
    first: nobody,
    firstDoneAt: undefined,
    second: nobody,
    decided: state.decided,
  };
}

function look(state: FirstContact, from: SightingSource, incarnation: string): FirstContact {
  const before = state.first[from.index];
  if (before !== undefined && before !== incarnation) {
    // It forgot once more in between: what was seen of the others proves nothing any more.
    return forgetLooks(state);
  }
  if (from.sentAt < state.looksFrom) return state;
  if (state.firstDoneAt === undefined) {
    const first = replaced(state.first, from.index, incarnation);
    return { ...state, first, firstDoneAt: first.includes(undefined) ? undefined : state.clock };
  }
  if (from.sentAt < state.firstDoneAt) return state;
  const second = replaced(state.second, from.index, incarnation);
  return { ...state, second, decided: second.includes(undefined) ? state.decided : second };
}

function forgetLooks(state: FirstContact): FirstContact {
  const nobody = nobodyOf(state);
  return { ...state, looksFrom: state.clock, first: nobody, firstDoneAt: undefined, second: nobody };
}

function nobodyOf({ first }: FirstContact): Incarnations {
  return new Array<undefined>(first.length).fill(undefined);
}

/** The backends to bootstrap now, each conditional on its incarnation; empty until all of them were seen twice. */
export function dueBootstraps(state: FirstContact): readonly Target[] {
  return targets(state.decided, (incarnation, index) => state.quarantined[index] === incarnation);
}

/** The quarantined backends that must learn that the deployment exists. */
export function dueJoins(state: FirstContact): readonly Target[] {
  if (!state.deploymentSeen) return NONE;
  return targets(state.unjoined, (incarnation, index) => state.decided[index] !== incarnation);
}

/** The state after a backend acknowledged that it was joined in that incarnation. */
export function joinAcknowledged(state: FirstContact, target: Target): FirstContact {
  if (state.unjoined[target.index] !== target.incarnation) return state;
  return { ...state, unjoined: replaced(state.unjoined, target.index, undefined) };
}

const NONE: readonly Target[] = [];

function targets(
  incarnations: Incarnations,
  wanted: (incarnation: string, index: number) => boolean,
): readonly Target[] {
  const found: Target[] = [];
  incarnations.forEach((incarnation, index) => {
    if (incarnation !== undefined && wanted(incarnation, index)) found.push({ index, incarnation });
  });
  return found;
}
