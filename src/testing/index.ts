/** `quorum-lock/testing`: virtual time, faulty backends and the conformance list. Needs no test runner. */
export { createVirtualTime } from "./virtual-time.js";
export type { VirtualClock, VirtualTime, VirtualTimeOptions } from "./virtual-time.js";
export type { VirtualProcess } from "./virtual-process.js";
export { VirtualTimeError } from "./virtual-clock.js";
export type { VirtualClockOptions } from "./virtual-clock.js";
export { seededRandom } from "./random.js";
export type { Random } from "./random.js";
export { faulty } from "./faulty-backend.js";
export type { CallCounts, FaultyBackend, FaultyOptions, NetworkDelay, Operation } from "./faulty-backend.js";
export { conformanceCases, ConformanceFailure, missingNeeds } from "./conformance.js";
export type { ConformanceCase, ConformanceContext, Need, Restarts } from "./conformance.js";
