/**
 * `quorum-lock/adapter`: what turns a store with compare and swap into a backend. See `docs/adapters/writing-your-own.md`,
 * and `quorum-lock/testing` for the conformance list.
 */
export { openCasSession } from "./adapters/shared/cas-session.js";
export type { CasSessionOptions } from "./adapters/shared/cas-session.js";
export type {
  CasStore,
  Intent,
  LineSight,
  Look,
  MarkLook,
  Reliance,
  Stored,
} from "./adapters/shared/cas-store.js";
export { formatRecord, keyOfRecord, parseRecord } from "./adapters/shared/record-text.js";
export type { KeptLine, KeptTicket, Reservation } from "./engine/line.js";
export { isForgotten, keptNow } from "./engine/record.js";
export type { ClockReading, KeptKey, KeptLock } from "./engine/record.js";
