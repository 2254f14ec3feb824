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
export type { KeyState, LockRole } from "./engine/survey.js";
export type { Instant, System, Timer, TimerPurpose } from "./engine/time.js";
export {
  AbortedError,
  BackendError,
  ClosedError,
  ConfigError,
  ConfigMismatchError,
  HandOverRefusedError,
  InvalidKeyError,
  InvalidOptionError,
  LeaseLostError,
  LockHeldError,
  MarkBrokenError,
  MarksMissingError,
  MissingPackageError,
  NoQuorumError,
  NoTransactionError,
  QuarantinedError,
  QuorumLockError,
  SameBackendError,
  StaleTokenError,
} from "./errors.js";
export type {
  BackendErrorCode,
  ConfigPlace,
  ErrorCode,
  LossReason,
  RefusalData,
  VoteReport,
} from "./errors.js";
export { createHighWaterMarks, guardInProcess } from "./guard/in-process.js";
export type { HighWaterMarks } from "./guard/in-process.js";
export type { GuardedLease } from "./guard/lease.js";
export type { Answer } from "./lock/ask.js";
export type { LeaseEvent, LockerEventName, LockerEvents, ReleaseOutcome } from "./lock/events.js";
export type { BackendExamination, ClockOffset } from "./lock/examine.js";
export type { HandOver, HandOverDeployment } from "./lock/hand-over.js";
export type { BackendView, KeyReport } from "./lock/inspect.js";
export type { Lease, LeaseJson } from "./lock/lease.js";
export { createLocker } from "./lock/locker.js";
export type { KeyListing, ListCoverage, ListedBackend } from "./lock/list.js";
export type { Locker, Refusal } from "./lock/locker.js";
export type { Operator } from "./lock/operator.js";
export type {
  ForcedRelease,
  ForceReleaseReport,
  LiftedCounter,
  LiftReport,
  QuarantineReport,
} from "./lock/repair.js";
export { DEFAULTS, LIMITS } from "./options.js";
export type { AcquireOptions, AdoptOptions, ListOptions, LockerOptions, Logger } from "./options.js";
export { withBothLocks } from "./shard/both-locks.js";
export type { BothLease, BothLocks } from "./shard/both-locks.js";
export { createShards } from "./shard/shards.js";
export type { Shard, Shards } from "./shard/shards.js";
