/**
 * What one locker knows of its backends from their answers: who they are, whether two are one server, whether one is
 * used with another configuration, and whether the deployment has to be started (engine/first-contact.ts).
 */
import type { BackendIdentity, BackendSession, Quarantined, RestartGuard } from "../backend.js";
import {
  dueBootstraps,
  dueJoins,
  joinAcknowledged,
  observe,
  startFirstContact,
  type FirstContact,
  type Target,
} from "../engine/first-contact.js";
import { after, type System } from "../engine/time.js";
import { BackendError, ConfigMismatchError, SameBackendError, type QuorumLockError } from "../errors.js";
import type { Reporter } from "./events.js";
import type { Link } from "./link.js";
import type { Interruption } from "./waiting.js";

/** Any answer that says who gave it, and whether that backend votes. */
type Telling = { readonly kind: string; readonly identity: BackendIdentity } | Quarantined;

/** A locker's knowledge of its backends. */
export interface Contact {
  /** Goes with a request, and comes back with its answer to {@link Contact.answered}. */
  clock(): number;
  /** Takes note of an answer. Undefined when it counts; else why it does not. */
  answered(link: Link, sentAt: number, reply: Telling): BackendError | undefined;
  /** Takes note of a fault. */
  failed(link: Link, fault: BackendError): void;
  /** Why nothing may be granted to this locker, as far as the last answers go. */
  problem(): QuorumLockError | undefined;
  /** Whether nothing but quarantined, unjoined backends was ever seen, so that looking at all of them is worth it. */
  mayStart(): boolean;
  /** Starts the deployment where that is due; resolves when every backend answered, `withinMs` passed, or when it is interrupted. */
  start(withinMs: number, interruption: Interruption): Promise<void>;
}

/** What {@link createContact} needs of its locker. */
export interface ContactContext {
  readonly links: readonly Link[];
  readonly system: System;
  readonly reporter: Reporter;
  readonly restartGuard: RestartGuard;
  readonly quarantineMs: number;
}

/** Knows nothing yet. */
export function createContact(context: ContactContext): Contact {
  const { links, system, reporter } = context;
  const mismatches = new Map<Link, BackendError>();
  let seen: FirstContact = startFirstContact(links.length);
  let quarantineTold: readonly (string | undefined)[] = links.map(() => undefined);

  function identify(link: Link, identity: BackendIdentity | undefined): void {
    link.identity = identity;
    for (const each of links) {
      each.twin = links.find(
        (other) =>
          other.index < each.index &&
          other.identity !== undefined &&
          other.identity.serverId === each.identity?.serverId,
      );
    }
  }

  function answered(link: Link, sentAt: number, reply: Telling): BackendError | undefined {
    if (reply.identity !== link.identity) identify(link, reply.identity);
    if (mismatches.size > 0) mismatches.delete(link);
    if (link.twin !== undefined) return sameServer(link, link.twin);
    const before = seen;
    seen = observe(seen, { index: link.index, sentAt }, sighting(reply));
    if (seen !== before) acknowledge(link, reply);
    return undefined;
  }

  function acknowledge(link: Link, reply: Telling): void {
    for (const target of dueJoins(seen)) owed(target);
    if (!isQuarantined(reply) || quarantineTold[link.index] === reply.identity.incarnation) return;
    // Of a new deployment there is nothing to tell; whether it is one shows later.
    if (context.restartGuard === "auto" && !seen.deploymentSeen) return;
    quarantineTold = quarantineTold.with(link.index, reply.identity.incarnation);
    const { remainingMs, joined } = reply;
    reporter.emit("backendQuarantined", () => ({ backend: link.backend.name, remainingMs, joined }));
  }

  function owed(target: Target): void {
    links[target.index]?.owe({
      id: `join ${target.incarnation}`,
      until: after(system.now(), context.quarantineMs),
      pay: (session) => session.join(target.incarnation),
      paid: () => {
        seen = joinAcknowledged(seen, target);
      },
    });
  }

  /** Owed where it is not answered: a backend that missed it would stay in quarantine though all was decided. */
  function bootstrap(link: Link, incarnation: string, done: () => void): void {
    const pay = (session: BackendSession): Promise<void> => session.bootstrap(incarnation);
    const paid = (): void => reporter.emit("backendBootstrapped", () => ({ backend: link.backend.name }));
    link.send(
      pay,
      () => {
        paid();
        done();
      },
      () => {
        const until = after(system.now(), context.quarantineMs);
        link.owe({ id: `bootstrap ${incarnation}`, until, pay, paid });
        done();
      },
    );
  }

  return {
    clock: () => seen.clock,
    answered,
    failed(link: Link, fault: BackendError): void {
      // Whoever is reached next under its address may be another one.
      if (fault.code === "BACKEND_NOT_CONNECTED" && link.identity !== undefined) identify(link, undefined);
      if (fault.code === "BACKEND_MARK_MISMATCH") {
        mismatches.set(link, fault);
      }
    },
    problem(): QuorumLockError | undefined {
      for (const [{ backend }, cause] of mismatches) return new ConfigMismatchError(backend.name, { cause });
      for (const { backend, twin } of links) {
        if (twin !== undefined) {
          return new SameBackendError([twin.backend.name, backend.name], "one and the same server");
        }
      }
      return undefined;
    },
    mayStart: () => context.restartGuard === "auto" && !seen.deploymentSeen,
    start(withinMs: number, interruption: Interruption): Promise<void> {
      const due = context.restartGuard === "auto" ? dueBootstraps(seen) : [];
      if (due.length === 0) return Promise.resolve();
      return new Promise((resolve) => {
        let missing = due.length;
        const finish = (): void => {
          stop();
          system.cancelTimer(timer);
          resolve();
        };
        const stop = interruption.listen(finish);
        const timer = system.startTimer("work", withinMs, finish);
        const done = (): void => {
          if (--missing === 0) finish();
        };
        for (const { index, incarnation } of due) {
          const link = links[index];
          if (link === undefined) done();
          else bootstrap(link, incarnation, done);
        }
      });
    },
  };
}

function isQuarantined(reply: Telling): reply is Quarantined {
  return reply.kind === "quarantined";
}

function sighting(reply: Telling): Parameters<typeof observe>[2] {
  if (!isQuarantined(reply)) return IN_SERVICE;
  return { kind: "quarantined", incarnation: reply.identity.incarnation, joined: reply.joined };
}

const IN_SERVICE = { kind: "in-service" } as const;

/** Why a backend does not count that turned out to be the server of another one. */
export function sameServer(link: Link, twin: Link): BackendError {
  const what = `it is the same server as ${twin.backend.name}, and counts only once`;
  return new BackendError("BACKEND_SAME_SERVER", { backend: link.backend.name, what });
}
