/**
 * The clocks of a host. A lock in a file ends by the monotonic clock, which all processes of a host share since its start
 * and nobody can set. Where there is none that two processes share, wall time stands in for it.
 */
import { readFileSync, statfsSync } from "node:fs";
import { uptime } from "node:os";

/** One host, as its processes see it. */
export interface Host {
  /** Names the time since the host was started; readings of the monotonic clock mean nothing in another one. */
  readonly bootId: string;
  readonly expiryClock: "monotonic" | "wall";
  /** Milliseconds, the same in all processes of the host. */
  monotonicMs(): number;
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** The wall clock's reading when the host was started, as far as it can be told now. */
  bootedAtWallMs(): number;
  /** The number of a file system's kind, as Linux has it; undefined where it cannot be told. */
  fileSystem(folder: string): number | undefined;
}

const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/** The host of this process. */
export function thisHost(): Host {
  const bootId = bootIdOfLinux();
  return {
    bootId: bootId ?? "wall",
    expiryClock: bootId === undefined ? "wall" : "monotonic",
    // On Linux this is CLOCK_MONOTONIC; `performance.now()` begins anew in every process.
    monotonicMs: () => (bootId === undefined ? Date.now() : Number(process.hrtime.bigint()) / 1e6),
    wallMs: () => Date.now(),
    // Time in suspend counts: it is part of the time since the start.
    bootedAtWallMs: () => (bootId === undefined ? 0 : Date.now() - uptime() * 1000),
    fileSystem(folder: string): number | undefined {
      try {
        return statfsSync(folder).type;
      } catch {
        return undefined;
      }
    },
  };
}

function bootIdOfLinux(): string | undefined {
  try {
    return readFileSync(BOOT_ID, "utf8").trim();
  } catch {
    return undefined;
  }
}
