/** What a conformance case is, and what it needs of whoever runs it. */
import type { BackendSession, Capabilities, Deployment } from "../../backend.js";

/** What only some backends, or some places to run a case, can offer. */
export type Need =
  /** `context.restart.lost` */
  | "restart-lost"
  /** `context.restart.kept` */
  | "restart-kept"
  /** a restart begins a new memory, even if it kept everything */
  | "volatile"
  /** a plain restart keeps the memory */
  | "durable"
  /** it moves proposals into the window around its own clock */
  | "clamps"
  /** its keys can be listed */
  | "lists";

/** Starts the server behind the backend anew; resolves when it answers again. */
export interface Restarts {
  /** With an empty memory, as after a flush: also the mark is gone. */
  readonly lost?: () => Promise<void>;
  /** With all that it had. */
  readonly kept?: () => Promise<void>;
}

/** A place in which a case runs: one store, clocks, and fresh names. A case leaves only locks and counters behind. */
export interface ConformanceContext {
  readonly capabilities: Capabilities;
  /** What {@link ConformanceContext.open} starts from. */
  readonly deployment: Deployment;
  /** How much later than the backend's own figures something may come, in milliseconds. 0 under virtual time. */
  readonly toleranceMs: number;
  /** False for a store without a clock, which takes proposals as they are. Default true. */
  readonly clampsProposals?: boolean;
  readonly restart?: Restarts;
  /** A session on the store; all sessions of a context share it. Whoever made the context closes them. */
  open(overrides?: Partial<Deployment>): BackendSession | Promise<BackendSession>;
  /** Puts the backend into service. Default: a bootstrap of whatever incarnation answers quarantined. */
  inService?(session: BackendSession): Promise<void>;
  /** A key that nobody used before, of at most 64 ASCII letters, digits and "-". */
  freshKey(): string;
  /** Microseconds of wall time, strictly increasing, within `deployment.clockSkewMs` of the backend's clock. */
  proposal(): bigint;
  /** Milliseconds of the clock by which {@link ConformanceContext.waitMs} waits. */
  nowMs(): number;
  waitMs(ms: number): Promise<void>;
}

/** One promise of the contract in `backend.ts`, and how to see whether a backend keeps it. */
export interface ConformanceCase {
  /** A sentence; unique in the list. */
  readonly name: string;
  readonly needs?: readonly Need[];
  /** Rejects with a {@link ConformanceFailure} when the promise is broken. */
  run(context: ConformanceContext): Promise<void>;
}

/** What `oneCase` needs and `context` does not offer; the case runs when nothing is missing. */
export function missingNeeds(oneCase: ConformanceCase, context: ConformanceContext): readonly Need[] {
  return (oneCase.needs ?? []).filter((need) => !offers(context, need));
}

function offers(context: ConformanceContext, need: Need): boolean {
  switch (need) {
    case "restart-lost":
      return context.restart?.lost !== undefined;
    case "restart-kept":
      return context.restart?.kept !== undefined;
    case "volatile":
      return !context.capabilities.durable;
    case "durable":
      return context.capabilities.durable;
    case "clamps":
      return context.clampsProposals ?? true;
    case "lists":
      return context.capabilities.lists;
  }
}
