/** Every error class of quorum-lock, its code and its data. A closed list: a `switch` over `code` can be complete. */

/** What one backend did in an attempt. Part of every quorum error, so that held and unreachable never look alike. */
export interface VoteReport {
  readonly backend: string;
  /** "confirmed": it did what an operator asked for (a forced release, a lifted counter). */
  readonly vote: "granted" | "held" | "denied" | "quarantined" | "confirmed" | "fault" | "no-answer";
  /** Milliseconds from the first request of the attempt to the answer, or until nobody waited any more. */
  readonly elapsedMs: number;
  /** For how long the other's lock or the quarantine lasts, in milliseconds, where the backend said so. */
  readonly remainingMs?: number;
  /** The code of {@link VoteReport.error}. */
  readonly code?: BackendErrorCode;
  /** Why it is a fault. */
  readonly error?: Error;
}

/** Codes of {@link BackendError}. */
export type BackendErrorCode =
  /** no answer within the deadline; the effect is unknown */
  | "BACKEND_TIMEOUT"
  /** no connection; nothing was sent */
  | "BACKEND_NOT_CONNECTED"
  /** the connection broke before the answer; the effect is unknown */
  | "BACKEND_DISCONNECTED"
  /** so many requests to it are unanswered that no more are sent, until it answers */
  | "BACKEND_SILENT"
  /** it wants a password, or refuses the one it got */
  | "BACKEND_AUTH"
  /** its access rules forbid what the lock needs */
  | "BACKEND_NO_PERMISSION"
  /** it is a read-only replica */
  | "BACKEND_READONLY"
  /** it is still loading its data */
  | "BACKEND_LOADING"
  /** a script or a transaction of somebody else blocks it */
  | "BACKEND_BUSY"
  /** it has no memory left for writes; releases still work */
  | "BACKEND_OUT_OF_MEMORY"
  /** something else is stored under a key of the lock */
  | "BACKEND_WRONG_TYPE"
  /** a counter is no number, or may not count any further */
  | "BACKEND_COUNTER_BROKEN"
  /** whether its memory is new cannot be told */
  | "BACKEND_MARK_UNREADABLE"
  /** its mark was written by clients that are configured otherwise; acquire rejects with CONFIG_MISMATCH */
  | "BACKEND_MARK_MISMATCH"
  /** another backend of the set is the same server; acquire rejects with SAME_BACKEND */
  | "BACKEND_SAME_SERVER"
  /** the server is too old or lacks something that the adapter needs */
  | "BACKEND_UNSUPPORTED"
  /** any other refusal, with the server's own words */
  | "BACKEND_REFUSED";

/** Every code that an error of quorum-lock can carry. */
export type ErrorCode =
  | "INVALID_OPTION"
  | "INVALID_KEY"
  | "INVALID_CONFIG"
  | "MISSING_PACKAGE"
  | "SAME_BACKEND"
  | "CONFIG_MISMATCH"
  | "LOCK_HELD"
  | "NO_QUORUM"
  | "QUARANTINED"
  | "ABORTED"
  | "CLOSED"
  | "LEASE_LOST"
  | "HAND_OVER_REFUSED"
  | "STALE_TOKEN"
  | "NO_TRANSACTION"
  | "MARKS_MISSING"
  | "MARK_BROKEN"
  | BackendErrorCode;

/** The base of all errors that quorum-lock throws on purpose. Told apart by `code`. */
export abstract class QuorumLockError extends Error {
  abstract readonly code: ErrorCode;

  /** Its data for logs and other programs; tokens as text, since a bigint is no JSON. */
  toJSON(): object {
    const fields: Record<string, unknown> = { message: this.message };
    for (const [name, value] of Object.entries(this)) {
      // A job's result is its own business, and may be anything.
      if (name !== "result") fields[name] = typeof value === "bigint" ? `${value}` : value;
    }
    return fields;
  }
}

/** `INVALID_OPTION`: an option breaks its rule. Names the option, the rule and the value. */
export class InvalidOptionError extends QuorumLockError {
  override readonly name: string = "InvalidOptionError";
  readonly code = "INVALID_OPTION";
  readonly option: string;
  readonly rule: string;
  readonly value: unknown;

  constructor(option: string, rule: string, value: unknown) {
    super(`option ${option} must be ${rule}; got ${show(value)}`);
    this.option = option;
    this.rule = rule;
    // An object may hold a password, and errors are logged.
    this.value = typeof value === "object" && value !== null ? show(value) : value;
  }
}

/** A misspelt option must not be a silent default. `which` names the options in the message. */
export function refuseUnknownOptions(options: object, known: ReadonlySet<string>, which: string): void {
  if (typeof options !== "object" || options === null)
    throw new InvalidOptionError("options", "an object", options);
  for (const option of Object.keys(options)) {
    const value: unknown = Reflect.get(options, option);
    if (value === null) throw new InvalidOptionError(option, "left out rather than null", null);
    if (!known.has(option)) {
      throw new InvalidOptionError(option, `one of ${which}: ${[...known].join(", ")}`, value);
    }
  }
}

/** `INVALID_KEY`: the key is no string, empty, too long or not well-formed Unicode. */
export class InvalidKeyError extends QuorumLockError {
  override readonly name: string = "InvalidKeyError";
  readonly code = "INVALID_KEY";
  readonly rule: string;
  readonly key: unknown;

  constructor(rule: string, key: unknown) {
    super(`a key must be ${rule}; got ${show(key)}`);
    this.rule = rule;
    this.key = key;
  }
}

/** Where a value of the configuration was given. */
export type ConfigPlace =
  /** Lines and columns from 1; `key` is the way to the value, such as `backends[0].password`, or "the file". */
  | {
      readonly kind: "file";
      readonly file: string;
      readonly line: number;
      readonly column: number;
      readonly key: string;
    }
  | { readonly kind: "variable"; readonly name: string }
  /** Of the command line, such as `--ttl`. */
  | { readonly kind: "option"; readonly name: string }
  /** An option of `loadConfig`, such as `ttlMs`. */
  | { readonly kind: "code"; readonly name: string };

/**
 * `INVALID_CONFIG`: a file, a variable, an option or a URL of the configuration breaks its rule. Names the place, the rule and
 * the value, but never a password or a private key.
 */
export class ConfigError extends QuorumLockError {
  override readonly name: string = "ConfigError";
  readonly code = "INVALID_CONFIG";
  readonly place: ConfigPlace;
  readonly rule: string;
  /** As text for people; without secrets. */
  readonly value: string;

  constructor(place: ConfigPlace, rule: string, value: string) {
    super(`${placeText(place)} must be ${rule}; got ${value}`);
    this.place = place;
    this.rule = rule;
    this.value = value;
  }
}

/** Where a value was given, in words: "variable QUORUM_LOCK_TTL", "quorum-lock.yaml:3:7: ttl". */
export function placeText(place: ConfigPlace): string {
  switch (place.kind) {
    case "file":
      return `${place.file}:${place.line}:${place.column}: ${place.key}`;
    case "variable":
      return `variable ${place.name}`;
    case "option":
    case "code":
      return `option ${place.name}`;
  }
}

/** `MISSING_PACKAGE`: the configuration asks for something that needs an optional package, which is not installed. */
export class MissingPackageError extends QuorumLockError {
  override readonly name: string = "MissingPackageError";
  readonly code = "MISSING_PACKAGE";
  /** The packages of which one is enough. */
  readonly packages: readonly string[];

  /** `what` begins the sentence, such as "redis:// backends need". */
  constructor(packages: readonly [string, ...string[]], what: string, options: { readonly cause: unknown }) {
    const [first] = packages;
    const which =
      packages.length === 1
        ? `the package ${first}, which is not installed`
        : `one of the packages ${packages.join(", ")}, none of which is installed`;
    super(`${what} ${which}: npm install ${first}`, options);
    this.packages = packages;
  }
}

/** `SAME_BACKEND`: two backends of the set turned out to be one server, which would count twice. */
export class SameBackendError extends QuorumLockError {
  override readonly name: string = "SameBackendError";
  readonly code = "SAME_BACKEND";
  readonly backends: readonly [string, string];

  constructor(backends: readonly [string, string], how: string) {
    super(
      `backends ${backends[0]} and ${backends[1]} are ${how}; every backend must be an independent server, ` +
        `or one failure counts as two`,
    );
    this.backends = backends;
  }
}

/**
 * `CONFIG_MISMATCH`: a backend is used by clients with another number of backends, quorum or maxTtlMs. Nothing is
 * granted, since quorums of two different configurations need not share a backend.
 */
export class ConfigMismatchError extends QuorumLockError {
  override readonly name: string = "ConfigMismatchError";
  readonly code = "CONFIG_MISMATCH";
  readonly backend: string;

  constructor(backend: string, options: { readonly cause: Error }) {
    super(options.cause.message, options);
    this.backend = backend;
  }
}

/** Codes of faults that are sure to have changed nothing on the backend. */
const WITHOUT_EFFECT: ReadonlySet<BackendErrorCode> = new Set<BackendErrorCode>([
  "BACKEND_SILENT",
  "BACKEND_NOT_CONNECTED",
  "BACKEND_AUTH",
  "BACKEND_NO_PERMISSION",
  "BACKEND_READONLY",
  "BACKEND_LOADING",
  "BACKEND_BUSY",
  "BACKEND_MARK_UNREADABLE",
  "BACKEND_MARK_MISMATCH",
]);

/** One backend failed or refused to act. Inside quorum errors, and in the event `backendFault`. */
export class BackendError extends QuorumLockError {
  override readonly name: string = "BackendError";
  readonly code: BackendErrorCode;
  readonly backend: string;

  constructor(
    code: BackendErrorCode,
    where: { readonly backend: string; readonly what: string },
    cause?: unknown,
  ) {
    super(`backend ${where.backend}: ${where.what}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.backend = where.backend;
  }

  /** "none": the operation is sure not to have been executed. "unknown": it may have been, or may be later. */
  get effect(): "none" | "unknown" {
    return WITHOUT_EFFECT.has(this.code) ? "none" : "unknown";
  }
}

/** What a mark holds of the configuration of the clients that wrote it. */
interface MarkedFigures {
  readonly backends: number;
  readonly quorum: number;
  readonly maxTtlMs: number;
  /** What they say of the memory of the backend. */
  readonly memory?: string | undefined;
}

/** What every adapter throws when a mark was written by clients that are configured otherwise. */
export function markMismatch(
  where: { readonly backend: string; readonly mark: string },
  marked: MarkedFigures,
  ours: MarkedFigures,
): BackendError {
  const kind = (figures: MarkedFigures): string =>
    marked.memory === ours.memory ? "" : `, ${figures.memory}`;
  const text = (figures: MarkedFigures): string =>
    `${figures.backends} ${figures.backends === 1 ? "backend" : "backends"}, quorum ${figures.quorum}, ` +
    `maxTtlMs ${figures.maxTtlMs}${kind(figures)}`;
  const what =
    `its mark was written by clients with ${text(marked)}; this one is configured with ${text(ours)}. ` +
    `All clients of a backend must use the same figures. If nobody uses the others any more: stop all clients, wait ` +
    `until the longest TTL has passed, delete ${where.mark} there, start`;
  return new BackendError("BACKEND_MARK_MISMATCH", { backend: where.backend, what });
}

/** What every adapter throws when a quarantine by hand is asked of a backend that keeps no watch over its memory. */
export function noQuarantine(backend: string): BackendError {
  const what = 'it cannot be quarantined under restartGuard: "off", which says that it never forgets';
  return new BackendError("BACKEND_UNSUPPORTED", { backend, what });
}

/** What the errors of a refused acquire share. */
export interface RefusalData {
  readonly key: string;
  readonly votes: readonly VoteReport[];
  readonly attempts: number;
  readonly waitedMs: number;
  /** In how many milliseconds it may be worth to try again; undefined when the backends gave no hint. */
  readonly retryAfterMs: number | undefined;
}

abstract class RefusedError extends QuorumLockError implements RefusalData {
  readonly key: string;
  readonly votes: readonly VoteReport[];
  readonly attempts: number;
  readonly waitedMs: number;
  readonly retryAfterMs: number | undefined;

  constructor(sentence: string, data: RefusalData) {
    const faults = faultsOf(data.votes);
    super(
      `${sentence} (${attemptsText(data)}): ${votesText(data.votes)}`,
      faults.length === 0
        ? undefined
        : { cause: faults.length === 1 ? faults[0] : new AggregateError(faults) },
    );
    this.key = data.key;
    this.votes = data.votes;
    this.attempts = data.attempts;
    this.waitedMs = data.waitedMs;
    this.retryAfterMs = data.retryAfterMs;
  }
}

/** `LOCK_HELD`: enough backends voted; somebody else holds the lock, or took part of the votes. */
export class LockHeldError extends RefusedError {
  override readonly name: string = "LockHeldError";
  readonly code = "LOCK_HELD";

  constructor(data: RefusalData) {
    super(`lock ${show(data.key)} is held by another owner`, data);
  }
}

/** `NO_QUORUM`: too few backends answered, or they answered too late. Says nothing about who holds the lock. */
export class NoQuorumError extends RefusedError {
  override readonly name: string = "NoQuorumError";
  readonly code = "NO_QUORUM";

  /** `hint`: what helps when the backends were never in service. */
  constructor(data: RefusalData, hint?: string) {
    super(
      `no quorum of backends answered for lock ${show(data.key)}${hint === undefined ? "" : `; ${hint}`}`,
      data,
    );
  }
}

/** `QUARANTINED`: backends answered that do not vote yet, because they may have forgotten locks. */
export class QuarantinedError extends RefusedError {
  override readonly name: string = "QuarantinedError";
  readonly code = "QUARANTINED";

  /** `hint`: what helps when the backends were never in service. */
  constructor(data: RefusalData, hint?: string) {
    const wait = data.retryAfterMs === undefined ? "a while" : `another ${seconds(data.retryAfterMs)}`;
    super(
      `lock ${show(data.key)} cannot be granted for ${wait}: backends that restarted without their memory may have ` +
        `forgotten locks that are still in use, and do not vote until the longest of those has ended` +
        (hint === undefined ? "" : `; ${hint}`),
      data,
    );
  }
}

/** `ABORTED`: the caller's AbortSignal ended the wait; `cause` is the signal's reason. */
export class AbortedError extends QuorumLockError {
  override readonly name: string = "AbortedError";
  readonly code = "ABORTED";
  readonly key: string;

  constructor(key: string, reason: unknown) {
    super(`waiting for lock ${show(key)} was aborted`, { cause: reason });
    this.key = key;
  }
}

/** `CLOSED`: the locker was closed, before or during the call. */
export class ClosedError extends QuorumLockError {
  override readonly name: string = "ClosedError";
  readonly code = "CLOSED";

  constructor() {
    super("this locker is closed");
  }
}

/**
 * Why a lease is over before it was released. "expired": its validity ended. "forced-out": so many backends deny it
 * that it has no quorum (forced release, eviction, an operator). "closed": the locker was closed under it.
 */
export type LossReason = "expired" | "forced-out" | "closed";

/** `LEASE_LOST`: the lease is over, or has less validity left than was asked for. */
export class LeaseLostError extends QuorumLockError {
  override readonly name: string = "LeaseLostError";
  readonly code = "LEASE_LOST";
  readonly key: string;
  readonly token: bigint;
  readonly reason: LossReason | "released" | "handed-over" | "too-short";
  /** What the job returned, when `withLock` rejects because the lease was lost while the job went on. */
  readonly result: unknown;

  constructor(
    lease: { readonly key: string; readonly token: bigint },
    reason: LossReason | "released" | "handed-over" | "too-short",
    more: { readonly what?: string; readonly result?: unknown } = {},
  ) {
    super(more.what ?? `lease of ${show(lease.key)} with token ${lease.token} ${LOSS_TEXT[reason]}`);
    this.key = lease.key;
    this.token = lease.token;
    this.reason = reason;
    this.result = more.result;
  }
}

const LOSS_TEXT = {
  expired: "is over: its validity ended before it could be extended",
  "forced-out": "is over: a majority of the backends deny it (released by force, evicted or deleted)",
  closed: "is over: its locker was closed",
  released: "is over: it was released",
  "handed-over": "is over here: it was handed over",
  "too-short": "has too little validity left",
} as const;

/** `HAND_OVER_REFUSED`: what was to be adopted is no hand-over, or one of a deployment that is configured otherwise. */
export class HandOverRefusedError extends QuorumLockError {
  override readonly name: string = "HandOverRefusedError";
  readonly code = "HAND_OVER_REFUSED";

  constructor(why: string) {
    super(`the hand-over cannot be adopted: ${why}`);
  }
}

/** `STALE_TOKEN`: a guard refused a write, since the resource has seen a newer holder. */
export class StaleTokenError extends QuorumLockError {
  override readonly name: string = "StaleTokenError";
  readonly code = "STALE_TOKEN";
  readonly key: string;
  /** The token that was presented. */
  readonly token: bigint;
  /** The highest token that the resource has seen. */
  readonly highest: bigint;

  /** `todo`: what the caller has to do about it. */
  constructor(
    key: string,
    seen: { readonly token: bigint; readonly highest: bigint; readonly todo?: string },
  ) {
    super(
      `write refused: token ${seen.token} of ${show(key)} is stale, the resource has seen token ${seen.highest}` +
        (seen.todo === undefined ? "" : `; ${seen.todo}`),
    );
    this.key = key;
    this.token = seen.token;
    this.highest = seen.highest;
  }
}

/**
 * `NO_TRANSACTION`: a guard was called outside a transaction, where its check would be over before the write. Nothing
 * is protected by that call.
 */
export class NoTransactionError extends QuorumLockError {
  override readonly name: string = "NoTransactionError";
  readonly code = "NO_TRANSACTION";

  constructor(guard: string) {
    super(
      `${guard} was called outside a transaction: the check would be over before the write. Send BEGIN on the same ` +
        `connection first (a pool may give each query another one), then the guard, the write and COMMIT`,
    );
  }
}

/** `MARKS_MISSING`: the table in which a guard keeps its marks does not exist. Names the statement that makes it. */
export class MarksMissingError extends QuorumLockError {
  override readonly name: string = "MarksMissingError";
  readonly code = "MARKS_MISSING";
  readonly table: string;
  /** What to run, once, before the first guarded write. */
  readonly statement: string;

  constructor(table: string, statement: string, cause: unknown) {
    super(`the guard's table ${table} does not exist; run once: ${statement}`, { cause });
    this.table = table;
    this.statement = statement;
  }
}

/** `MARK_BROKEN`: what is stored as the mark of a key is no token, so that nothing can be compared. Nothing was written. */
export class MarkBrokenError extends QuorumLockError {
  override readonly name: string = "MarkBrokenError";
  readonly code = "MARK_BROKEN";
  readonly key: string;

  constructor(key: string, where: string, cause?: unknown) {
    super(
      `write refused: the mark of ${show(key)} in ${where} is no token; somebody else writes there`,
      cause === undefined ? undefined : { cause },
    );
    this.key = key;
  }
}

/** A value as error messages show it: one line, never long, never a secret of ours. */
export function show(value: unknown): string {
  if (typeof value === "string") {
    const text = JSON.stringify(value);
    return text.length <= 80 ? text : `${text.slice(0, 60)}…" (${value.length} characters)`;
  }
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return typeof value === "bigint" ? `${value}n` : String(value);
}

function faultsOf(votes: readonly VoteReport[]): readonly Error[] {
  const faults: Error[] = [];
  for (const { error } of votes) if (error !== undefined) faults.push(error);
  return faults;
}

function attemptsText(data: RefusalData): string {
  if (data.attempts === 0) return `behind others of this process for all of ${seconds(data.waitedMs)}`;
  const attempts = data.attempts === 1 ? "one attempt" : `${data.attempts} attempts`;
  return data.waitedMs < 1 ? attempts : `${attempts} in ${seconds(data.waitedMs)}`;
}

function votesText(votes: readonly VoteReport[]): string {
  return votes.map(voteText).join("; ");
}

function voteText(vote: VoteReport): string {
  const remaining = vote.remainingMs === undefined ? "" : ` for another ${seconds(vote.remainingMs)}`;
  switch (vote.vote) {
    case "granted":
    case "held":
    case "denied":
    case "confirmed":
      return `${vote.backend} ${vote.vote}${remaining}`;
    case "quarantined":
      return `${vote.backend} in quarantine${remaining}`;
    case "no-answer":
      return `${vote.backend} was not waited for`;
    case "fault":
      return vote.error === undefined ? `${vote.backend} failed` : withoutPrefix(vote);
  }
}

function withoutPrefix(vote: VoteReport): string {
  return `${vote.backend} failed (${vote.error?.message.replace(`backend ${vote.backend}: `, "")})`;
}

/** Milliseconds as people read them. */
function seconds(ms: number): string {
  return ms < 1000 ? `${Math.ceil(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
