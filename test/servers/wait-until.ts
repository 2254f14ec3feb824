// Waiting for a real server to come to a state, with a bound.
import { setTimeout as sleep } from "node:timers/promises";

export interface Waiting {
  /** What is waited for, for the message. */
  what: string;
  timeoutMs: number;
  /** More for the message, such as a log; asked for only when the time is up. */
  detail?: () => string;
}

/** Asks until the answer is true; an error counts as "not yet" and the last one is the cause when the time is up. */
export async function waitUntil(waiting: Waiting, ask: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + waiting.timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      if (await ask()) return;
      cause = undefined;
    } catch (error) {
      if (error instanceof GiveUp) throw error;
      cause = error;
    }
    if (performance.now() > deadlineMs) {
      const detail = waiting.detail === undefined ? "" : `\n${waiting.detail()}`;
      throw new Error(`${waiting.what}: not within ${waiting.timeoutMs} ms${detail}`, { cause });
    }
    await sleep(10);
  }
}

/** Thrown by a question that knows that waiting longer is useless. */
export class GiveUp extends Error {
  override name = "GiveUp";
}
