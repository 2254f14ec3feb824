/** What a locker reports while it works: typed events, and one structured log line for each. */
import { hash } from "node:crypto";
import type { BackendError, LossReason, VoteReport } from "../errors.js";
import type { Logger } from "../options.js";
import type { RefusalReason } from "../engine/round.js";

/** How a release ended. "unknown": too few backends answered; the lock ends with its TTL at the latest. */
export type ReleaseOutcome = "released" | "not-owner" | "unknown";

/** The fields of every event of a lease. */
export interface LeaseEvent {
  readonly key: string;
  readonly token: bigint;
  /** The first eight hex digits of the owner's SHA-256; the owner itself is the right to release. */
  readonly ownerHash: string;
}

/** Every event of a locker, by name. Durations in milliseconds. */
export interface LockerEvents {
  /** A lease was granted. */
  readonly acquired: LeaseEvent & {
    readonly validityMs: number;
    readonly waitedMs: number;
    readonly attempts: number;
    readonly votes: readonly VoteReport[];
  };
  /** An acquire or tryAcquire ended without a lease. */
  readonly refused: {
    readonly key: string;
    readonly reason: RefusalReason;
    readonly waitedMs: number;
    readonly attempts: number;
    readonly votes: readonly VoteReport[];
  };
  /** A lease has a later end. */
  readonly extended: LeaseEvent & { readonly remainingMs: number; readonly votes: readonly VoteReport[] };
  /** An extension failed while time remains; the keeper tries again. */
  readonly atRisk: LeaseEvent & { readonly remainingMs: number; readonly votes: readonly VoteReport[] };
  /** A lease is over before it was released. */
  readonly lost: LeaseEvent & { readonly reason: LossReason; readonly heldMs: number };
  /** A release ended. */
  readonly released: LeaseEvent & { readonly outcome: ReleaseOutcome; readonly heldMs: number };
  /** A lease was handed over to whoever adopts it, and is over here. */
  readonly handedOver: LeaseEvent & { readonly remainingMs: number; readonly heldMs: number };
  /** A lease that was handed over was adopted here. */
  readonly adopted: LeaseEvent & { readonly remainingMs: number; readonly votes: readonly VoteReport[] };
  /** A backend that worked, or was not tried before, failed. Once until it recovers. */
  readonly backendFault: { readonly backend: string; readonly error: BackendError };
  /** A backend that had failed answered. */
  readonly backendRecovered: { readonly backend: string };
  /** A backend does not vote, since its memory is new. Once per memory. */
  readonly backendQuarantined: {
    readonly backend: string;
    readonly remainingMs: number;
    readonly joined: boolean;
  };
  /** This locker put a backend of a new deployment into service. */
  readonly backendBootstrapped: { readonly backend: string };
  /** An operator had a lock taken away, whoever held it. */
  readonly forceReleased: {
    readonly key: string;
    /** Whether any backend had a lock. */
    readonly released: boolean;
    readonly votes: readonly VoteReport[];
  };
  /** An operator had the counter of a key lifted. */
  readonly lifted: { readonly key: string; readonly token: bigint; readonly votes: readonly VoteReport[] };
  /** An operator began the quarantine of a backend. */
  readonly quarantineBegun: { readonly backend: string; readonly remainingMs: number };
  /** Something that an operator should know. */
  readonly warning: { readonly text: string };
}

/** The name of an event. */
export type LockerEventName = keyof LockerEvents;

/** Where the locker reports to. */
export interface Reporter {
  on<Name extends LockerEventName>(name: Name, listener: (event: LockerEvents[Name]) => void): () => void;
  /** `event` is built only when somebody listens. */
  emit<Name extends LockerEventName>(name: Name, event: () => LockerEvents[Name]): void;
}

const LEVELS: { readonly [Name in LockerEventName]: keyof Logger } = {
  acquired: "debug",
  refused: "debug",
  extended: "debug",
  atRisk: "warn",
  lost: "error",
  released: "debug",
  handedOver: "info",
  adopted: "info",
  backendFault: "warn",
  backendRecovered: "info",
  backendQuarantined: "warn",
  backendBootstrapped: "info",
  forceReleased: "warn",
  lifted: "warn",
  quarantineBegun: "warn",
  warning: "warn",
};

const TEXTS: { readonly [Name in LockerEventName]: string } = {
  acquired: "lock acquired",
  refused: "lock refused",
  extended: "lease extended",
  atRisk: "lease at risk: an extension failed",
  lost: "lease lost",
  released: "lock released",
  handedOver: "lease handed over",
  adopted: "lease adopted",
  backendFault: "backend failed",
  backendRecovered: "backend recovered",
  backendQuarantined:
    "backend in quarantine: its memory is new, and locks that it forgot may still be in use",
  backendBootstrapped: "new backend put into service",
  forceReleased: "lock released by force",
  lifted: "counter lifted by hand",
  quarantineBegun: "quarantine begun by hand",
  warning: "warning",
};

const NAMES: ReadonlySet<string> = new Set(Object.keys(LEVELS));

/** Whether an event of that name exists. */
export function isEventName(name: unknown): name is LockerEventName {
  return typeof name === "string" && NAMES.has(name);
}

/** All names of events. */
export function eventNames(): readonly string[] {
  return [...NAMES];
}

/** A reporter without listeners. What a listener or the logger throws is dropped: reporting never breaks a lock. */
export function createReporter(logger: Logger | undefined): Reporter {
  const listeners = new Map<LockerEventName, Set<(event: never) => void>>();

  return {
    on<Name extends LockerEventName>(name: Name, listener: (event: LockerEvents[Name]) => void): () => void {
      const added = new Set(listeners.get(name)).add(listener);
      listeners.set(name, added);
      return () => {
        const left = new Set(listeners.get(name));
        left.delete(listener);
        if (left.size === 0) listeners.delete(name);
        else listeners.set(name, left);
      };
    },

    emit<Name extends LockerEventName>(name: Name, build: () => LockerEvents[Name]): void {
      const heard = listeners.get(name) as ReadonlySet<(event: LockerEvents[Name]) => void> | undefined;
      if (heard === undefined && logger === undefined) return;
      const event = build();
      for (const listener of heard ?? []) quietly(() => listener(event));
      if (logger !== undefined) {
        quietly(() => logger[LEVELS[name]]({ event: name, ...loggable(event) }, text(name, event)));
      }
    },
  };
}

function quietly(run: () => unknown): void {
  try {
    const result = run();
    // An async listener is allowed where one without a result is; its rejection would end the process.
    if (result instanceof Promise) result.catch(() => undefined);
  } catch {
    // A listener's own fault; there is nobody else to tell.
  }
}

function text<Name extends LockerEventName>(name: Name, event: LockerEvents[Name]): string {
  if ("text" in event) return event.text;
  return "error" in event ? `${TEXTS[name]}: ${event.error.message}` : TEXTS[name];
}

/** Bigints are no JSON, votes are one short text each, and an error's stack says nothing about a dead server. */
function loggable(event: object): object {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(event)) {
    if (name === "text") continue;
    if (name === "votes") fields[name] = (value as readonly VoteReport[]).map(voteText);
    else if (name === "error") fields["code"] = (value as BackendError).code;
    else if (typeof value === "bigint") fields[name] = value.toString();
    else fields[name] = typeof value === "number" ? Math.round(value * 1000) / 1000 : value;
  }
  return fields;
}

function voteText(vote: VoteReport): string {
  const code = vote.code === undefined ? "" : ` ${vote.code}`;
  return `${vote.backend} ${vote.vote}${code} ${vote.elapsedMs.toFixed(1)}ms`;
}

/** What may be shown of an owner. */
export function ownerHash(owner: string): string {
  return hash("sha256", owner, "hex").slice(0, 8);
}
