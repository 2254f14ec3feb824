/** `createLocker`: acquires leases on a quorum of backends, keeps them, and gives them back. */
import type { RefusalReason } from "../engine/round.js";
import { requestDeadlineMs } from "../engine/schedule.js";
import { elapsedMs, type System } from "../engine/time.js";
import { validityMs } from "../engine/validity.js";
import {
  ClosedError,
  InvalidOptionError,
  LockHeldError,
  NoQuorumError,
  QuarantinedError,
  type RefusalData,
} from "../errors.js";
import {
  checkKey,
  resolveAcquire,
  resolveAdopt,
  resolveOptions,
  type AcquireOptions,
  type AdoptOptions,
  type ListOptions,
  type LockerOptions,
  type ResolvedAcquire,
  type ResolvedOptions,
} from "../options.js";
import { adoptGrant } from "./adopt.js";
import { acquireGrant, type AcquireContext, type Acquired } from "./acquire.js";
import { bootstrapAll } from "./bootstrap.js";
import { createCalls } from "./calls.js";
import { createContact } from "./contact.js";
import {
  createReporter,
  eventNames,
  isEventName,
  ownerHash,
  type LockerEventName,
  type LockerEvents,
  type Reporter,
} from "./events.js";
import type { BackendExamination } from "./examine.js";
import { handOverDeployment, readHandOver, type HandOver } from "./hand-over.js";
import type { KeyReport } from "./inspect.js";
import type { HeldLease, Lease } from "./lease.js";
import { createLeases, type Leases } from "./leases.js";
import { createLine } from "./line.js";
import { createLink, type Link } from "./link.js";
import type { KeyListing } from "./list.js";
import { createOperator, type Operator } from "./operator.js";
import type { Quorum } from "./poll.js";
import { releaseEverywhere } from "./release.js";
import type { ForceReleaseReport, LiftReport, QuarantineReport } from "./repair.js";
import { processSystem } from "./system.js";
import { createInterruption } from "./waiting.js";
import { runUnder } from "./with-lock.js";

/** Why `tryAcquire` gave no lease. Told apart from a lease by `acquired`. */
export interface Refusal extends RefusalData {
  readonly acquired: false;
  /** "held": somebody else has it. "no-quorum": too few backends answered. "quarantined": they may not vote yet. */
  readonly reason: RefusalReason;
  /** The error that `acquire` would have thrown. */
  readonly error: LockHeldError | NoQuorumError | QuarantinedError;
}

/** Acquires leases on a quorum of backends. */
export interface Locker extends Operator, AsyncDisposable {
  /**
   * Waits for the lock, at most `waitMs`. Rejects with `LOCK_HELD`, `NO_QUORUM` or `QUARANTINED` (each names every
   * backend's vote), `ABORTED`, `CLOSED`, `CONFIG_MISMATCH`, `SAME_BACKEND`, `INVALID_KEY` or `INVALID_OPTION`.
   */
  acquire(key: string, options?: AcquireOptions): Promise<Lease>;
  /** One attempt. Rejects as `acquire` does, except that a lock that is not to be had is a {@link Refusal}. */
  tryAcquire(key: string, options?: Omit<AcquireOptions, "waitMs">): Promise<Lease | Refusal>;
  /**
   * Runs `job` under the lock, extends the lease meanwhile, and releases it afterwards. Settles only after the job
   * did. Rejects with the job's own error; with `LEASE_LOST`, which carries the job's result, when the lease was lost
   * meanwhile; or as `acquire` does.
   */
  withLock<T>(key: string, job: (lease: Lease) => T | Promise<T>): Promise<T>;
  withLock<T>(key: string, options: AcquireOptions, job: (lease: Lease) => T | Promise<T>): Promise<T>;
  /**
   * Takes over a lease that another process gave away with {@link Lease.handOver}. Believes it nothing of time: q
   * backends must show the lock, with nobody newer, and then confirm an extension. Two processes that adopt the same
   * hand-over are one holder to everybody else and nothing to each other: nothing excludes one from the other, and the
   * release of either ends both. Rejects with `HAND_OVER_REFUSED`; with `LEASE_LOST` when the lease is gone; with
   * `NO_QUORUM` when too few backends can tell, where repeating may help; or as `acquire` does.
   */
  adopt(handOver: HandOver, options?: AdoptOptions): Promise<Lease>;
  /**
   * Puts all quarantined backends into service at once: the first use of a deployment under `restartGuard: "strict"`.
   * Safe only when no lease is in use. Resolves to the names of the backends that it put into service; rejects with
   * `NO_QUORUM` when a backend did not answer.
   */
  bootstrap(): Promise<readonly string[]>;
  /** Listens to an event; returns how to stop. What a listener throws is dropped. */
  on<Name extends LockerEventName>(name: Name, listener: (event: LockerEvents[Name]) => void): () => void;
  /**
   * Ends all waits with `CLOSED` and all leases still held as lost with the reason "closed": code under them may still
   * run, so they are not released but end with their TTL. Release leases first: releases that are under way get a
   * second to reach every backend. Closes what the adapters opened. Bounded; may be repeated.
   */
  close(): Promise<void>;
}

const CLOSE_WITHIN_MS = 1_000;

/**
 * A locker over independent backends. Connects in the background; the first acquire tells whether it works.
 *
 * @example
 * ```ts
 * import { createLocker } from "quorum-lock";
 * import { memory } from "quorum-lock/memory";
 *
 * const locker = createLocker({ backends: [memory(), memory(), memory()], ttlMs: 5_000 });
 * const lease = await locker.acquire("report:2026-11");
 * try {
 *   lease.assertHeld(1_000);
 * } finally {
 *   await lease.release();
 *   await locker.close();
 * }
 * ```
 *
 * @throws InvalidOptionError, SameBackendError
 */
export function createLocker(options: LockerOptions): Locker {
  const resolved = resolveOptions(options);
  const system = options.system ?? processSystem;
  const reporter = createReporter(resolved.logger);
  const links = openAll(resolved, { system, reporter });
  const contact = createContact({
    links,
    system,
    reporter,
    restartGuard: resolved.deployment.restartGuard,
    quarantineMs: resolved.deployment.quarantineMs,
  });
  const quorum: Quorum = {
    links,
    quorum: resolved.deployment.quorum,
    clockBounds: resolved.clockBounds,
    system,
    contact,
  };
  return new QuorumLocker({ resolved, system, reporter, links, quorum });
}

/** Opens all backends or none: what was opened before one refused would never be closed. */
function openAll(
  { backends, deployment, ttlMs }: ResolvedOptions,
  { system, reporter }: { readonly system: System; readonly reporter: Reporter },
): readonly Link[] {
  const silenceMs = requestDeadlineMs(ttlMs);
  const links: Link[] = [];
  try {
    for (const backend of backends) {
      links.push(createLink(backend, links.length, { deployment, system, reporter, silenceMs }));
    }
  } catch (error) {
    for (const link of links) void link.close(CLOSE_WITHIN_MS);
    throw error;
  }
  return links;
}

interface Parts {
  readonly resolved: ResolvedOptions;
  readonly system: System;
  readonly reporter: Reporter;
  readonly links: readonly Link[];
  readonly quorum: Quorum;
}

class QuorumLocker implements Locker {
  readonly #parts: Parts;
  readonly #acquiring: AcquireContext;
  readonly #leases: Leases;
  readonly #operator: Operator;
  readonly #closing = createInterruption();
  /** The options of an acquire that names none. */
  readonly #usual: ResolvedAcquire;
  #closed: Promise<void> | undefined;

  constructor(parts: Parts) {
    const { resolved, system, quorum, reporter } = parts;
    this.#parts = parts;
    this.#usual = resolveAcquire({}, resolved, { keepAlive: false });
    this.#leases = createLeases(parts);
    this.#operator = createOperator({ quorum, closing: this.#closing, reporter, resolved });
    this.#acquiring = {
      quorum,
      system,
      contact: quorum.contact,
      reporter,
      deployment: resolved.deployment,
      retry: resolved.retry,
      line: createLine(system),
      calls: createCalls(quorum.links, quorum.quorum, system),
      closing: this.#closing,
    };
  }

  async acquire(key: string, options?: AcquireOptions): Promise<Lease> {
    checkKey(key);
    const resolved =
      options === undefined
        ? this.#usual
        : resolveAcquire(options, this.#parts.resolved, { keepAlive: false });
    return this.#hold(await acquireGrant(this.#acquiring, key, resolved), resolved);
  }

  async tryAcquire(key: string, options: Omit<AcquireOptions, "waitMs"> = {}): Promise<Lease | Refusal> {
    checkKey(key);
    const resolved = resolveAcquire(options, this.#parts.resolved, { keepAlive: false });
    if ("waitMs" in options) {
      throw new InvalidOptionError(
        "waitMs",
        "left out: tryAcquire does not wait, use acquire",
        options.waitMs,
      );
    }
    try {
      const once = { ...resolved, waitMs: 0 };
      return this.#hold(await acquireGrant(this.#acquiring, key, once), once);
    } catch (error) {
      if (error instanceof LockHeldError) return refusal("held", error);
      if (error instanceof NoQuorumError) return refusal("no-quorum", error);
      if (error instanceof QuarantinedError) return refusal("quarantined", error);
      throw error;
    }
  }

  async withLock<T>(
    key: string,
    optionsOrJob: AcquireOptions | ((lease: Lease) => T | Promise<T>),
    maybeJob?: (lease: Lease) => T | Promise<T>,
  ): Promise<T> {
    checkKey(key);
    const [options, job] = typeof optionsOrJob === "function" ? [{}, optionsOrJob] : [optionsOrJob, maybeJob];
    if (typeof optionsOrJob === "function" && maybeJob !== undefined) {
      throw new InvalidOptionError(
        "withLock",
        "called as (key, job) or (key, options, job)",
        "(key, job, …)",
      );
    }
    if (typeof job !== "function") throw new InvalidOptionError("job", "a function", job);
    const resolved = resolveAcquire(options, this.#parts.resolved, { keepAlive: true });
    return runUnder(this.#hold(await acquireGrant(this.#acquiring, key, resolved), resolved), job);
  }

  /** The lease of a wait that was won. */
  #hold(acquired: Acquired, options: ResolvedAcquire): HeldLease {
    if (this.#closing.interrupted()) {
      // Won in the very turn of the close; its lease would outlive the locker that watches and keeps it.
      acquired.grant.claim.over = true;
      void releaseEverywhere(this.#parts.quorum, acquired.grant.claim, CLOSE_WITHIN_MS);
      throw new ClosedError();
    }
    const { grant, attempts, waitedMs } = acquired;
    const { resolved, reporter } = this.#parts;
    const lease = this.#leases.hold(grant, options);
    reporter.emit("acquired", () => ({
      key: lease.key,
      token: lease.token,
      ownerHash: ownerHash(grant.claim.owner),
      validityMs: validityMs(options.ttlMs, resolved.clockBounds),
      waitedMs,
      attempts,
      votes: grant.votes(),
    }));
    return lease;
  }

  async adopt(handOver: HandOver, options: AdoptOptions = {}): Promise<Lease> {
    const { quorum, resolved, reporter, system } = this.#parts;
    const { maxTtlMs } = resolved.deployment;
    const handed = readHandOver(handOver, handOverDeployment(resolved));
    const wanted = resolveAdopt(options, resolved, handed.ttlMs);
    const grant = await adoptGrant({ quorum, closing: this.#closing, maxTtlMs }, handed, wanted);
    // Adopted in the very turn of the close; nothing is released, since it may be adopted elsewhere.
    if (this.#closing.interrupted()) throw new ClosedError();
    const lease = this.#leases.hold(grant, wanted);
    reporter.emit("adopted", () => ({
      key: lease.key,
      token: lease.token,
      ownerHash: ownerHash(handed.owner),
      remainingMs: elapsedMs(system.now(), lease.validUntil),
      votes: grant.votes(),
    }));
    return lease;
  }

  async bootstrap(): Promise<readonly string[]> {
    if (this.#closing.interrupted()) throw new ClosedError();
    const { links, system, reporter, resolved } = this.#parts;
    const started = await bootstrapAll(links, system, requestDeadlineMs(resolved.ttlMs));
    for (const backend of started) reporter.emit("backendBootstrapped", () => ({ backend }));
    return started;
  }

  inspect(key: string): Promise<KeyReport> {
    return this.#operator.inspect(key);
  }

  list(options?: ListOptions): KeyListing {
    return this.#operator.list(options);
  }

  forceRelease(key: string): Promise<ForceReleaseReport> {
    return this.#operator.forceRelease(key);
  }

  lift(key: string, token: bigint): Promise<LiftReport> {
    return this.#operator.lift(key, token);
  }

  quarantine(backend: string): Promise<QuarantineReport> {
    return this.#operator.quarantine(backend);
  }

  examine(): Promise<readonly BackendExamination[]> {
    return this.#operator.examine();
  }

  on<Name extends LockerEventName>(name: Name, listener: (event: LockerEvents[Name]) => void): () => void {
    if (!isEventName(name)) throw new InvalidOptionError("event", `one of ${eventNames().join(", ")}`, name);
    if (typeof listener !== "function") throw new InvalidOptionError("listener", "a function", listener);
    return this.#parts.reporter.on(name, listener);
  }

  close(): Promise<void> {
    this.#closed ??= this.#closeOnce();
    return this.#closed;
  }

  async #closeOnce(): Promise<void> {
    this.#closing.interrupt();
    this.#leases.close();
    this.#acquiring.calls.stop();
    await Promise.all(this.#parts.links.map((link) => link.close(CLOSE_WITHIN_MS)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function refusal(reason: RefusalReason, error: Refusal["error"]): Refusal {
  const { key, votes, attempts, waitedMs, retryAfterMs } = error;
  return { acquired: false, reason, error, key, votes, attempts, waitedMs, retryAfterMs };
}
