/**
 * M: at most one valid lease per key at any instant of true time; and none comes back to life: once a newer lease was
 * won, an older one is not extended any more.
 */
import { ofKind, type History, type Violation } from "../history.js";

export function checkExclusion(history: History): readonly Violation[] {
  if (!history.assumptions.expiryByClock) return [];
  return [...together(history), ...resurrected(history)];
}

function together(history: History): readonly Violation[] {
  return ofKind(history, "belief")
    .filter(({ valid }) => valid.length > 1)
    .map(({ key, atMs, valid }) => ({
      checker: "exclusion",
      what:
        `${valid.length} valid leases of ${key} at ${atMs.toFixed(3)} ms: ` +
        valid
          .map(
            ({ lease, token, client, remainingMs }) =>
              `lease ${lease} of ${client} with token ${token} and ${remainingMs.toFixed(3)} ms left`,
          )
          .join(", "),
    }));
}

function resurrected(history: History): readonly Violation[] {
  const acquired = ofKind(history, "acquired");
  return ofKind(history, "extended").flatMap(({ key, token, atMs, client }) => {
    const newer = acquired.find((each) => each.key === key && each.atMs < atMs && each.token > token);
    if (newer === undefined) return [];
    const what =
      `${key}: the lease of ${client} with token ${token} was extended at ${atMs.toFixed(3)} ms, after ` +
      `${newer.client} had won token ${newer.token} at ${newer.atMs.toFixed(3)} ms`;
    return [{ checker: "exclusion", what }];
  });
}
