/**
 * A stale holder's write is refused once a newer holder wrote; what a resource took for a key has tokens that never
 * fall, each of a lease that was acquired. And no write is refused without cause.
 */
import type { History, Violation } from "../history.js";

export function checkStaleWrites(history: History): readonly Violation[] {
  const acquired = new Set(history.leases.map(({ key, token }) => `${key} ${token}`));
  const found: Violation[] = [];
  const note = (what: string): void => void found.push({ checker: "stale writes", what });
  const highest = new Map<string, bigint>();
  for (const { resource, key, tokens } of history.logs) {
    let last = 0n;
    for (const token of tokens) {
      if (token < last) note(`${resource} took a write of ${key} with token ${token} after one with ${last}`);
      if (!acquired.has(`${key} ${token}`))
        note(`${resource} took a write of ${key} with token ${token} of no lease`);
      if (token > last) last = token;
    }
    highest.set(`${resource} ${key}`, last);
  }
  for (const { resource, key, token, outcome, atMs } of history.writes) {
    const at = `at ${atMs.toFixed(3)} ms`;
    if (outcome === "stale" && token >= (highest.get(`${resource} ${key}`) ?? 0n)) {
      note(
        `${resource} refused a write of ${key} with token ${token} ${at} as stale, though it took no newer one`,
      );
    }
  }
  return [...found, ...lost(history)];
}

/** What a client was told to be written must be there. */
function lost(history: History): readonly Violation[] {
  const taken = new Map<string, number>();
  for (const { resource, key, tokens } of history.logs) {
    for (const token of tokens) {
      const write = `${resource} ${key} ${token}`;
      taken.set(write, (taken.get(write) ?? 0) + 1);
    }
  }
  return history.writes.flatMap(({ resource, key, token, outcome }) => {
    if (outcome !== "accepted") return [];
    const write = `${resource} ${key} ${token}`;
    const left = (taken.get(write) ?? 0) - 1;
    taken.set(write, left);
    if (left >= 0) return [];
    return [
      {
        checker: "stale writes",
        what: `${resource} does not have a write of ${key} with token ${token} that it accepted`,
      },
    ];
  });
}
