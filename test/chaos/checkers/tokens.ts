/**
 * U: no token of a key is issued twice. RT: a lease whose attempt began after another was acquired has the larger token.
 * F: a lease acquired later has the larger token, if it was still valid when it was recorded; where exclusion is promised.
 */
import { byKey, type History, type LeaseRecord, type Violation } from "../history.js";

export function checkTokens(history: History): readonly Violation[] {
  return [...byKey(history.leases)].flatMap(([key, leases]) => [
    ...twice(key, leases),
    ...outOfOrder(key, leases, "a lower token, though its attempt began after the other was acquired"),
    ...(history.judged.exclusion
      ? outOfOrder(
          key,
          leases.filter((each) => each.heldUntilMs > each.acquiredMs),
          "a lower token, though it was acquired later",
        )
      : []),
  ]);
}

function twice(key: string, leases: readonly LeaseRecord[]): readonly Violation[] {
  const seen = new Map<bigint, LeaseRecord>();
  return leases.flatMap((lease) => {
    const before = seen.get(lease.token);
    seen.set(lease.token, lease);
    return before === undefined ? [] : [violation(key, "the same token twice", [before, lease])];
  });
}

type Rule =
  | "a lower token, though its attempt began after the other was acquired"
  | "a lower token, though it was acquired later";

/** Against the highest token that had been acquired before the moment from which the rule counts. */
function outOfOrder(key: string, leases: readonly LeaseRecord[], rule: Rule): readonly Violation[] {
  const from = (lease: LeaseRecord): number =>
    rule === "a lower token, though it was acquired later" ? lease.acquiredMs : lease.attemptMs;
  const byFrom = [...leases].sort((a, b) => from(a) - from(b));
  const found: Violation[] = [];
  let next = 0;
  let highest: LeaseRecord | undefined;
  for (const lease of byFrom) {
    for (
      let before = leases[next];
      before !== undefined && before.acquiredMs < from(lease);
      before = leases[++next]
    ) {
      if (highest === undefined || before.token > highest.token) highest = before;
    }
    if (highest !== undefined && lease.token < highest.token)
      found.push(violation(key, rule, [highest, lease]));
  }
  return found;
}

function violation(
  key: string,
  what: string,
  [before, lease]: readonly [LeaseRecord, LeaseRecord],
): Violation {
  const text = ({ lease: name, token, acquiredMs }: LeaseRecord): string =>
    `lease ${name} with token ${token}, acquired at ${acquiredMs.toFixed(3)} ms`;
  return { checker: "tokens", what: `${key}: ${what}: ${text(before)}, then ${text(lease)}` };
}
