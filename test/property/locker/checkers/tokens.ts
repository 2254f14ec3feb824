/**
 * U: no token is issued twice for a key. RT: a lease whose attempt began after another was won has the larger token. F:
 * a lease won later has the larger token. U and RT need no clock as long as no memory is lost; with losses, all three
 * need wall clocks that agree.
 */
import { ofKind, type AcquiredRecord, type History, type Violation } from "../history.js";

export function checkTokens(history: History): readonly Violation[] {
  const { memoryKept, wallClocksAgree, expiryByClock } = history.assumptions;
  if (!memoryKept && !wallClocksAgree) return [];
  const violations: Violation[] = [];
  const byKey = new Map<string, AcquiredRecord[]>();
  for (const record of ofKind(history, "acquired")) {
    const earlier = byKey.get(record.key) ?? [];
    for (const before of earlier) {
      if (before.token === record.token) violations.push(violation("the same token twice", before, record));
      else if (record.attemptAtMs >= before.atMs && record.token < before.token) {
        violations.push(
          violation("a lower token, though its attempt began after the other was won", before, record),
        );
      } else if (expiryByClock && record.token < before.token) {
        violations.push(violation("a lower token, though it was won later", before, record));
      }
    }
    byKey.set(record.key, [...earlier, record]);
  }
  return violations;
}

function violation(what: string, before: AcquiredRecord, record: AcquiredRecord): Violation {
  const text = ({ lease, client, token, atMs }: AcquiredRecord): string =>
    `lease ${lease} of ${client} with token ${token} won at ${atMs.toFixed(3)} ms`;
  return { checker: "tokens", what: `${record.key}: ${what}: ${text(before)}, then ${text(record)}` };
}
