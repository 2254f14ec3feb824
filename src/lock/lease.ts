/** What the caller holds after a won attempt: looks at the clocks at every use, and is over by itself. */
import { inspect, type InspectOptions } from "node:util";
import { after, elapsedMs, latest, type Instant, type System } from "../engine/time.js";
import { validityMs } from "../engine/validity.js";
import { requestDeadlineMs } from "../engine/schedule.js";
import { InvalidOptionError, LeaseLostError, NoQuorumError, type LossReason } from "../errors.js";
import { ttl as checkTtl } from "../options.js";
import { ownerHash, type LeaseEvent, type ReleaseOutcome, type Reporter } from "./events.js";
import { extendEverywhere, type ExtensionOutcome } from "./extend.js";
import type { HandOver, HandOverDeployment } from "./hand-over.js";
import { within } from "./link.js";
import type { Extendable, Keeper, Kept } from "./keeper.js";
import { lossInstant } from "./loss-watch.js";
import type { Grant, Quorum } from "./poll.js";
import { releaseEverywhere, type Claim } from "./release.js";

/** A lease as logs and other programs may see it; the token as text, since a bigint is no JSON. Holds no secret. */
export interface LeaseJson {
  readonly key: string;
  readonly token: string;
  readonly state: "held" | "released" | "handed-over" | LossReason;
  readonly remainingMs: number;
  readonly ownerHash: string;
}

/**
 * A lock that this process holds for a while. It promises that no other lease of the key is valid at the same time, as
 * long as {@link Lease.remainingMs} is above 0 and the assumptions of `docs/guarantees.md` hold. It does not promise
 * that a process that was paused stops writing: pass {@link Lease.token} to a guard at the resource.
 */
export interface Lease extends AsyncDisposable {
  readonly acquired: true;
  readonly key: string;
  /** The fencing token: larger than that of every earlier lease of the key. */
  readonly token: bigint;
  /**
   * Aborts when the lease is lost, at most 50 ms before its validity ends and not after it, by the local clock
   * alone. The reason is a {@link LeaseLostError}. Does not abort when the lease is released or handed over. Made on
   * first use.
   */
  readonly signal: AbortSignal;
  /** How much validity is left, in milliseconds; 0 when the lease is over. Looks at the clocks. */
  readonly remainingMs: number;
  /**
   * Throws `LEASE_LOST` unless at least `forMs` milliseconds of validity are left (default: any). Looks at the clocks,
   * so that it is right even when the process was stalled or suspended just now.
   */
  assertHeld(forMs?: number): void;
  /**
   * Prolongs the lease to `ttlMs` from now (default: the TTL it was acquired with). Resolves to the milliseconds of
   * validity left. Rejects with `LEASE_LOST` when the lease is over, and with `NO_QUORUM` when too few backends
   * confirmed; the lease then goes on until its old end.
   */
  extend(ttlMs?: number): Promise<number>;
  /**
   * Gives the lock back, on every backend where it is still ours. Never rejects, may be repeated. "unknown": too few
   * backends answered; they are told again, and the lock ends with its TTL at the latest. "not-owner" also after it was
   * handed over.
   */
  release(): Promise<ReleaseOutcome>;
  /**
   * Gives the lease away, to be adopted by a locker in another process ({@link Locker.adopt}). It is over here from the
   * call on: its keeper stops, {@link Lease.assertHeld} throws, and a release sends nothing, so that it goes on for
   * whoever adopts it. Both have the same token, and no guard tells them apart: let your own writes end first. Rejects
   * with `LEASE_LOST` when the lease is over. Takes up to a deadline while an extension is in flight.
   */
  handOver(): Promise<HandOver>;
  toJSON(): LeaseJson;
}

/** What the locker needs of a lease. */
export interface HeldLease extends Lease, Extendable {
  /** Ends the lease as lost. */
  lose(reason: LossReason): void;
}

/** What a lease needs of its locker. */
export interface LeaseContext {
  readonly quorum: Quorum;
  readonly system: System;
  readonly reporter: Reporter;
  readonly keeper: Keeper<HeldLease>;
  readonly maxTtlMs: number;
  readonly deployment: HandOverDeployment;
}

/** How the lease is held. */
export interface Holding {
  /** Extended again and again, or only watched to its end. */
  readonly keepAlive: boolean;
  /** Extended to so much. */
  readonly ttlMs: number;
}

/** Makes the lease of a won attempt, and has it kept. */
export function createLease(grant: Grant, holding: Holding, context: LeaseContext): HeldLease {
  return new QuorumLease(grant, holding, context);
}

class QuorumLease implements HeldLease {
  readonly acquired = true as const;
  readonly key: string;
  readonly token: bigint;
  validUntil: Instant;
  /** The TTL that its end comes from. */
  #endTtlMs: number;
  #state: LeaseJson["state"] = "held";
  #controller: AbortController | undefined;
  /** The last one that was asked for; undefined when none is in flight or waits. */
  #extending: Promise<ExtensionOutcome> | undefined;
  /** How many are in flight or wait. */
  #rounds = 0;
  #releasing: Promise<ReleaseOutcome> | undefined;
  readonly #claim: Claim;
  readonly #ttlMs: number;
  readonly #wonAt: Instant;
  readonly #context: LeaseContext;
  readonly #kept: Kept<HeldLease>;

  constructor(
    { claim, token, ttlMs, wonAt, validUntil }: Grant,
    { keepAlive, ttlMs: keepTtlMs }: Holding,
    context: LeaseContext,
  ) {
    this.key = claim.key;
    this.token = token;
    this.validUntil = validUntil;
    this.#endTtlMs = ttlMs;
    this.#claim = claim;
    this.#ttlMs = ttlMs;
    this.#wonAt = wonAt;
    this.#context = context;
    this.#kept = context.keeper.hold(this, keepAlive ? keepTtlMs : 0);
  }

  get lossAt(): Instant {
    return lossInstant(this.validUntil, this.#validityMs(this.#endTtlMs));
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      this.#look();
      if (isLost(this.#state)) this.#controller.abort(this.#lost(this.#state));
    }
    return this.#controller.signal;
  }

  get remainingMs(): number {
    const now = this.#look();
    return this.#state === "held" ? Math.max(0, elapsedMs(now, this.validUntil)) : 0;
  }

  assertHeld(forMs = 0): void {
    if (!(forMs >= 0))
      throw new InvalidOptionError("assertHeld(forMs)", "a number of milliseconds from 0 up", forMs);
    const remainingMs = this.remainingMs;
    if (this.#state !== "held") throw this.#lost(this.#state);
    if (remainingMs < forMs) {
      const what =
        `lease of ${JSON.stringify(this.key)} with token ${this.token} has ${Math.floor(remainingMs)} ms of ` +
        `validity left, ${forMs} were asked for`;
      throw new LeaseLostError(this, "too-short", { what });
    }
  }

  async extend(ttlMs?: number): Promise<number> {
    const { maxTtlMs } = this.#context;
    const wanted = ttlMs === undefined ? this.#ttlMs : checkTtl("extend(ttlMs)", ttlMs, maxTtlMs);
    const startedAt = this.#context.system.now();
    const outcome = await this.extendOnce(wanted);
    if (this.#state !== "held") throw this.#lost(this.#state);
    if (outcome.kind === "extended") return this.remainingMs;
    throw new NoQuorumError({
      key: this.key,
      votes: outcome.votes(),
      attempts: 1,
      waitedMs: elapsedMs(startedAt, this.#context.system.now()),
      retryAfterMs: undefined,
    });
  }

  extendOnce(ttlMs: number, now?: Instant): Promise<ExtensionOutcome> {
    // One round at a time: answers of two rounds never add up, and the order of ends is the order of calls.
    const before = this.#extending;
    this.#rounds++;
    const round =
      before === undefined
        ? this.#extendNow(ttlMs, now ?? this.#context.system.look())
        : before.then(() => this.#extendNow(ttlMs, this.#context.system.look()));
    if (this.#rounds > 0) this.#extending = round;
    return round;
  }

  async #extendNow(ttlMs: number, now: Instant): Promise<ExtensionOutcome> {
    try {
      return await this.#extendFrom(now, ttlMs);
    } finally {
      if (--this.#rounds === 0) this.#extending = undefined;
    }
  }

  async #extendFrom(sentAt: Instant, ttlMs: number): Promise<ExtensionOutcome> {
    this.#pass(sentAt);
    if (this.#state !== "held") return { kind: "over", votes: () => [] };
    const { quorum, reporter, system } = this.#context;
    const { token, validUntil } = this;
    const outcome = await extendEverywhere(quorum, { claim: this.#claim, token, ttlMs, sentAt, validUntil });
    if (this.#is("handed-over")) {
      if (outcome.kind === "extended") this.#prolong(after(sentAt, this.#validityMs(ttlMs)), ttlMs);
      return outcome;
    }
    if (this.#state !== "held") return { kind: "over", votes: outcome.votes };
    switch (outcome.kind) {
      case "extended":
        this.#prolong(after(sentAt, this.#validityMs(ttlMs)), ttlMs);
        reporter.emit("extended", () =>
          this.#event({ remainingMs: elapsedMs(system.now(), this.validUntil), votes: outcome.votes() }),
        );
        return outcome;
      case "forced-out":
        this.lose("forced-out");
        return outcome;
      case "failed":
      case "over":
        if (this.remainingMs > 0) {
          reporter.emit("atRisk", () =>
            this.#event({ remainingMs: elapsedMs(system.now(), this.validUntil), votes: outcome.votes() }),
          );
        }
        return outcome;
    }
  }

  #prolong(until: Instant, ttlMs: number): void {
    this.validUntil = latest(this.validUntil, until);
    this.#endTtlMs = ttlMs;
  }

  release(): Promise<ReleaseOutcome> {
    this.#releasing ??= this.#releaseOnce();
    return this.#releasing;
  }

  #releaseOnce(): Promise<ReleaseOutcome> {
    if (this.#state === "handed-over") return Promise.resolve("not-owner");
    const { system } = this.#context;
    // The cheap clock will do: what is given back needs no exact end.
    if (system.now() >= this.validUntil) this.lose("expired");
    if (this.#state === "held") this.#end("released");
    // A late extend could create anew what was released, so the one in flight goes first.
    if (this.#extending === undefined) return this.#releaseNow();
    return within(system, requestDeadlineMs(this.#ttlMs), this.#extending).then(() => this.#releaseNow());
  }

  #releaseNow(): Promise<ReleaseOutcome> {
    const { quorum, system, reporter } = this.#context;
    // Told behind a promise of the caller's: whoever hears of it is in the caller's asynchronous context.
    return releaseEverywhere(quorum, this.#claim, requestDeadlineMs(this.#ttlMs)).then((outcome) => {
      reporter.emit("released", () => this.#event({ outcome, heldMs: elapsedMs(this.#wonAt, system.now()) }));
      return outcome;
    });
  }

  async handOver(): Promise<HandOver> {
    this.#look();
    if (this.#state !== "held") throw this.#lost(this.#state);
    this.#end("handed-over");
    const { system, reporter, deployment } = this.#context;
    const wonAt = this.#wonAt;
    const ttlMs = this.#ttlMs;
    // It may still prolong the lease, or find out that it is lost.
    const last =
      this.#extending && (await within(system, requestDeadlineMs(this.#context.maxTtlMs), this.#extending));
    const now = system.look();
    if (last?.kind === "forced-out" || now >= this.validUntil) {
      const reason = last?.kind === "forced-out" ? "forced-out" : "expired";
      this.#fall(reason);
      throw this.#lost(reason);
    }
    const remainingMs = elapsedMs(now, this.validUntil);
    reporter.emit("handedOver", () => this.#event({ remainingMs, heldMs: elapsedMs(wonAt, now) }));
    const { key, owner } = this.#claim;
    return { version: 1, key, owner, token: this.token.toString(), ttlMs, remainingMs, deployment };
  }

  expire(): void {
    this.lose("expired");
  }

  lose(reason: LossReason): void {
    if (this.#state === "held") this.#fall(reason);
  }

  #fall(reason: LossReason): void {
    this.#end(reason);
    const { reporter, system } = this.#context;
    reporter.emit("lost", () => this.#event({ reason, heldMs: elapsedMs(this.#wonAt, system.now()) }));
    this.#controller?.abort(this.#lost(reason));
  }

  toJSON(): LeaseJson {
    const remainingMs = Math.round(this.remainingMs);
    return {
      key: this.key,
      token: this.token.toString(),
      state: this.#state,
      remainingMs,
      ownerHash: ownerHash(this.#claim.owner),
    };
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `Lease ${inspect(this.toJSON(), options)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** The state after something was awaited, which the compiler would take for that of before. */
  #is(state: LeaseJson["state"]): boolean {
    return this.#state === state;
  }

  /** Looks at the clocks; a lease whose validity has ended is over from here on. */
  #look(): Instant {
    const now = this.#context.system.look();
    this.#pass(now);
    return now;
  }

  #pass(now: Instant): void {
    if (this.#state === "held" && now >= this.validUntil) this.lose("expired");
  }

  #end(state: Exclude<LeaseJson["state"], "held">): void {
    this.#state = state;
    // What was handed over is somebody's: nothing of it is taken back.
    this.#claim.over = state !== "handed-over";
    this.#context.keeper.drop(this.#kept);
  }

  #lost(reason: LeaseJson["state"]): LeaseLostError {
    return new LeaseLostError(this, reason === "held" ? "expired" : reason);
  }

  #validityMs(ttlMs: number): number {
    return validityMs(ttlMs, this.#context.quorum.clockBounds);
  }

  #event<More extends object>(more: More): LeaseEvent & More {
    return { key: this.key, token: this.token, ownerHash: ownerHash(this.#claim.owner), ...more };
  }
}

function isLost(state: LeaseJson["state"]): state is LossReason {
  return state !== "held" && state !== "released" && state !== "handed-over";
}
