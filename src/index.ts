/** Quorum locks over independent backends. Adapters have entry points of their own: `quorum-lock/redis`, … */
export type {
  AcquireReply,
  AcquireRequest,
  Backend,
  BackendIdentity,
  BackendSession,
  Capabilities,
  Deployment,
  Examination,
  ExtendReply,
  ExtendRequest,
  Finding,
  KeyRecord,
  ListPage,
  ListRequest,
  Quarantined,
  RaiseReply,
  RaiseRequest,
  ReleaseReply,
  RestartGuard,
  StatusReply,
} from "./backend.js";
export type { RefusalReason } from "./engine/round.js";
export type { Instant, System, Timer, TimerPurpose } from "./engine/time.js";
export {
  AbortedError,
  BackendError,
  ClosedError,
  ConfigMismatchError,
  InvalidKeyError,
  InvalidOptionError,
  LeaseLostError,
  LockHeldError,
  MarkBrokenError,
  MarksMissingError,
  NoQuorumError,
  NoTransactionError,
  QuarantinedError,
  QuorumLockError,
  SameBackendError,
  StaleTokenError,
} from "./errors.js";
export type { BackendErrorCode, ErrorCode, LossReason, RefusalData, VoteReport } from "./errors.js";
export { createHighWaterMarks, guardInProcess } from "./guard/in-process.js";
export type { HighWaterMarks } from "./guard/in-process.js";
export type { GuardedLease } from "./guard/lease.js";
export type { LeaseEvent, LockerEventName, LockerEvents, ReleaseOutcome } from "./lock/events.js";
export type { Lease, LeaseJson } from "./lock/lease.js";
export { createLocker } from "./lock/locker.js";
export type { Locker, Refusal } from "./lock/locker.js";
export { DEFAULTS, LIMITS } from "./options.js";
export type { AcquireOptions, LockerOptions, Logger } from "./options.js";
