/** What `quorum-lock demo` plays with: five backends, two holders, and something that they both write to. */
import type { Lease } from "../lock/lease.js";
import { createHighWaterMarks, guardInProcess } from "../guard/in-process.js";
import { createLocker, type Locker } from "../lock/locker.js";
import { processSystem } from "../lock/system.js";
import { faulty, type FaultyBackend } from "../testing/faulty-backend.js";
import { pausable, type PausableSystem } from "./pausable.js";

/** How fast it goes, in milliseconds. */
export interface Pace {
  readonly ttlMs: number;
  /** After each step, for reading. */
  readonly readMs: number;
}

/** Everything that the steps share. */
export interface Stage {
  readonly pace: Pace;
  readonly backends: readonly FaultyBackend[];
  readonly ada: Locker;
  readonly adasProcess: PausableSystem;
  readonly ben: Locker;
  /** What the two of them write to. */
  readonly stock: Stock;
}

/** What is protected: refuses writes with a token below the highest that it has seen. */
export interface Stock {
  write(lease: Lease, text: string): void;
  read(): string;
}

/** The names of the backends. */
export const BACKENDS: readonly string[] = ["red", "green", "blue", "white", "black"];

/** Nothing has happened yet. */
export async function setStage(pace: Pace): Promise<Stage> {
  const { memory } = await import("../adapters/memory.js");
  const backends = BACKENDS.map((name) => faulty(memory({ name })));
  const adasProcess = pausable(processSystem);
  const { ttlMs } = pace;
  return {
    pace,
    backends,
    adasProcess,
    ada: createLocker({ backends, ttlMs, system: adasProcess }),
    ben: createLocker({ backends, ttlMs }),
    stock: createStock(),
  };
}

function createStock(): Stock {
  const marks = createHighWaterMarks();
  let content = "";
  return {
    write(lease: Lease, text: string): void {
      guardInProcess(marks, lease);
      content = text;
    },
    read: () => content,
  };
}
