/**
 * Deletes rows whose retention has passed, one small page at a time behind the traffic, so that nobody waits for it: a page
 * a second at most, and a pause after a whole round over the table.
 */

/** How to sweep. */
export interface SweeperOptions {
  /** Deletes what is too old among the next `pageSize` keys after `after`. Resolves to the last of them, or undefined at the end. */
  readonly sweep: (after: string, pageSize: number) => Promise<string | undefined>;
  readonly retentionMs: number;
}

/** Sweeps while there is traffic. */
export interface Sweeper {
  /** A statement for `key` was done: it may be time for a page. Never waits, never rejects. */
  worked(key: string): void;
  stop(): void;
}

const PAGE_SIZE = 256;
const PAGE_EVERY_MS = 1_000;
const ROUND_EVERY_MS_MAX = 60_000;

/** Begins at the key in use, so that many short-lived processes do not all sweep the same page. */
export function createSweeper({ sweep, retentionMs }: SweeperOptions): Sweeper {
  const roundEveryMs = Math.min(ROUND_EVERY_MS_MAX, Math.max(PAGE_EVERY_MS, retentionMs / 10));
  let after: string | undefined;
  // Not behind the first statement: most processes that live for one lock need no second connection.
  let dueAt = performance.now() + PAGE_EVERY_MS;
  let state: "idle" | "sweeping" | "stopped" = "idle";

  async function page(from: string): Promise<void> {
    let pauseMs = roundEveryMs;
    try {
      const last = await sweep(from, PAGE_SIZE);
      if (last !== undefined) pauseMs = PAGE_EVERY_MS;
      after = last ?? "";
    } catch {
      // Whatever it is, the next operation meets it too, and says so; old rows can wait.
    }
    dueAt = performance.now() + pauseMs;
    if (state === "sweeping") state = "idle";
  }

  return {
    worked(key: string): void {
      if (state !== "idle" || performance.now() < dueAt) return;
      state = "sweeping";
      void page(after ?? key);
    },
    stop(): void {
      state = "stopped";
    },
  };
}
