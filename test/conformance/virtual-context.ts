/** A place for conformance cases in virtual time: any backend that takes a virtual clock, restarted at will. */
import type { Backend, Deployment } from "../../src/backend.js";
import type { MemoryClock } from "../../src/adapters/memory.js";
import { quarantineMs } from "../../src/engine/validity.js";
import { createVirtualTime, type VirtualTime } from "../../src/testing/virtual-time.js";
import type { ConformanceContext } from "../../src/testing/conformance.js";
import type { ConformanceSetup } from "./run-conformance.js";

const MAX_TTL_MS = 60_000;
const CLOCK_SKEW_MS = 1_000;

/** What the tests of this folder use. */
export const DEPLOYMENT: Deployment = {
  backends: 3,
  quorum: 2,
  maxTtlMs: MAX_TTL_MS,
  clockSkewMs: CLOCK_SKEW_MS,
  quarantineMs: quarantineMs({
    maxTtlMs: MAX_TTL_MS,
    clockSkewMs: CLOCK_SKEW_MS,
    driftPpm: 5_000,
    lateByMs: 0,
  }),
  tokenRetentionMs: 86_400_000,
  restartGuard: "auto",
};

/** A backend whose process can be restarted. */
export interface Restartable extends Backend {
  restart(memoryIs: "lost" | "kept"): void;
}

/** How to make one; `incarnation` gives a new name at each call. */
export type MakeBackend = (clock: MemoryClock, incarnation: () => string) => Restartable;

/** More virtual time than any case needs. */
const CASE_MS_MAX = 600_000;

/** A fresh backend in a fresh world. */
export function virtualSetup(
  make: MakeBackend,
  deployment = DEPLOYMENT,
): ConformanceSetup & { readonly time: VirtualTime } {
  const time = createVirtualTime({ seed: 1 });
  let made = 0;
  const fresh = (what: string): string => `${what}-${++made}`;
  const backend = make(time.backendClock(), () => fresh("memory"));
  const client = time.process();
  const restart = async (memoryIs: "lost" | "kept"): Promise<void> => {
    await time.sleep(5);
    backend.restart(memoryIs);
  };
  const context: ConformanceContext = {
    capabilities: backend.capabilities,
    deployment,
    toleranceMs: 0,
    restart: { lost: () => restart("lost"), kept: () => restart("kept") },
    open: (overrides = {}) => backend.open({ ...deployment, ...overrides }),
    freshKey: () => fresh("key"),
    proposal: () => client.propose(),
    nowMs: () => client.now(),
    waitMs: (ms) => time.sleep(ms),
  };
  return { time, context, drive: (running) => time.until(running, { limitMs: CASE_MS_MAX }) };
}
