/** A stale holder's write is refused once a newer holder wrote; an equal or newer one never is. */
import { ofKind, type History, type Violation } from "../history.js";

export function checkStaleWrites(history: History): readonly Violation[] {
  const highest = new Map<string, bigint>();
  const violations: Violation[] = [];
  for (const { key, token, accepted, atMs } of ofKind(history, "write")) {
    const before = highest.get(key) ?? 0n;
    if (accepted !== token >= before) {
      const did = accepted ? "accepted" : "refused";
      violations.push({
        checker: "stale writes",
        what: `${key}: a write with token ${token} was ${did} at ${atMs.toFixed(3)} ms, though the highest was ${before}`,
      });
    }
    if (accepted && token > before) highest.set(key, token);
  }
  return violations;
}
